#!/usr/bin/python3
"""Makes the fixtures of this folder again: those of redis-server 7.0 (on the path) and those made by hand.

    make.py            all of them
    make.py by-hand    without redis-server: what its versions 6 to 12, Valkey 9 and modules would write

A test names every file, so none is made for nothing. Times and memory sizes in the auxiliary fields differ from run to
run.
"""
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "ops" / "lib"))

import ports  # noqa: E402
import process  # noqa: E402
import resp  # noqa: E402


# ---- By hand: the format, written a second time ------------------------------------------------------------------------

def crc64(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x95AC9329AC4BC9B5 if crc & 1 else crc >> 1
    return crc


def length(n):
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return bytes([0x40 | n >> 8, n & 255])
    return b"\x80" + struct.pack(">I", n) if n < 1 << 32 else b"\x81" + struct.pack(">Q", n)


def string(text):
    return length(len(text)) + text


def module_id(name, version):
    characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = 0
    for c in name:
        number = number << 6 | characters.index(c)
    return length(number << 10 | version)


def aux(name, value):
    return b"\xfa" + string(name) + string(value)


def write(name, head, body, checksum=True):
    data = head + body + b"\xff"
    if int(head[-2:]) >= 5:
        data += struct.pack("<Q", crc64(data) if checksum else 0)
    (HERE / name).write_bytes(data)


def redis(version):
    return b"REDIS%04d" % version


VALKEY = b"VALKEY080"
SELECT = b"\xfe\x00"
COMMON = (SELECT
          + b"\x00" + string(b"plain") + string(b"value")
          + b"\x00" + string(b"int8") + b"\xc0\xfb"
          + b"\x00" + string(b"int16") + b"\xc1\x39\x30"
          + b"\x00" + string(b"int32") + b"\xc2\x00\xca\x9a\x3b"
          + b"\x00" + string(b"lzf") + b"\xc3\x05\x14\x00a\xe0\x0a\x00"
          + b"\xfd" + struct.pack("<i", 2000000000) + b"\x00" + string(b"seconds") + string(b"s")
          + b"\xfc" + struct.pack("<q", 2000000000123) + b"\x00" + string(b"millis") + string(b"m")
          + b"\xfe\x09" + b"\x00" + string(b"plain") + string(b"in nine"))


def by_hand():
    write("version-6.rdb", redis(6), COMMON)
    write("version-7.rdb", redis(7), aux(b"redis-ver", b"3.2.13") + COMMON + b"\xfb\x03\x01")
    write("version-8.rdb", redis(8), aux(b"redis-ver", b"4.0.14") + COMMON)
    write("version-9.rdb", redis(9), aux(b"redis-ver", b"6.2.14") + COMMON
          + b"\xf8\x3c\x00" + string(b"idle") + string(b"i") + b"\xf9\x07\x00" + string(b"freq") + string(b"f"))
    write("version-10.rdb", redis(10), aux(b"redis-ver", b"7.0.15") + COMMON)
    write("version-11.rdb", redis(11), aux(b"redis-ver", b"7.2.5") + COMMON)
    write("version-12.rdb", redis(12), aux(b"redis-ver", b"7.4.1") + COMMON + b"\xf4\x01\x02\x00")
    write("version-80.rdb", VALKEY, aux(b"valkey-ver", b"9.0.0") + COMMON + b"\xf4\x01\x02\x00")
    # Bytes behind the end are not looked at: commands of a pre-7 append-only file.
    write("preamble.rdb", redis(9), aux(b"aof-preamble", b"1") + COMMON)
    with open(HERE / "preamble.rdb", "ab") as file:
        file.write(b"*1\r\n$4\r\nPING\r\n")
    # Refused: a key that can be held, then one of each type that redis-server 7.0 does not write.
    fine = SELECT + b"\x00" + string(b"fine") + string(b"v")

    def refuse(name, head, rest):
        write("refused-%s.rdb" % name, head, fine + rest)

    for number, name, body in (
            (1, "list", b"\x01" + string(b"a")),
            (3, "zset", b"\x01" + string(b"a") + b"\x011"),
            (9, "zipmap", string(b"\x01\x01f\x01\x00v\xff")),
            (10, "list-ziplist", string(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff")),
            (12, "zset-ziplist", string(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff")),
            (13, "hash-ziplist", string(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff")),
            (14, "quicklist", b"\x01" + string(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff")),
            (15, "stream", b"\x00\x00\x00\x00\x00"),
            (6, "module-preview", module_id("graphdata", 5)),
            (7, "module", module_id("ReJSON-RL", 3) + b"\x00")):
        refuse("%d-%s" % (number, name), redis(9), bytes([number]) + string(b"cart:7") + body)
    for number, name in ((20, "set-listpack"), (21, "stream-3"), (22, "hash-preview"), (23, "hash-listpack-preview"),
                         (24, "hash-fields"), (25, "hash-listpack-fields")):
        refuse("%d-%s" % (number, name), redis(12), bytes([number]) + string(b"cart:7") + string(b"?"))
    refuse("22-valkey", VALKEY, b"\x16" + string(b"cart:7") + b"\x00")
    refuse("slot-import", VALKEY, b"\xf3" + string(b"0123456789abcdef") + b"\x01" + length(5) + length(9))
    refuse("module-aux", redis(9), b"\xf7" + module_id("ReJSON-RL", 3) + b"\x02\x02\x00")
    refuse("function-preview", redis(10), b"\xf6" + string(b"mylib") + string(b"LUA") + b"\x00" + string(b"return 1"))
    write("refused-version-5.rdb", redis(5), fine)
    write("refused-version-13.rdb", redis(13), fine)
    write("refused-version-81.rdb", b"VALKEY081", fine)
    write("refused-version-valkey-11.rdb", b"VALKEY011", fine)


# ---- redis-server ------------------------------------------------------------------------------------------------------

class Server:
    def __init__(self, *words):
        self.folder = tempfile.TemporaryDirectory()
        port = next(p for p in range(17100, 17999) if ports.is_free(p))
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", self.folder.name, "--save", "", *words],
            stdout=subprocess.DEVNULL)
        def connected():
            try:
                self.client = resp.Client(port)
                return True
            except OSError:
                return self.process.poll() is not None
        process.wait_until(connected, 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def call(self, *words):
        return self.client.call(*words)

    def save(self, name):
        self.call("SAVE")
        (HERE / name).write_bytes((pathlib.Path(self.folder.name) / "dump.rdb").read_bytes())


def strings(server):
    for text in ("0", "-128", "127", "128", "-32769", "2147483647", "2147483648", "-9223372036854775808", "007", "-0"):
        server.call("SET", "number:" + text, text)
    server.call("SET", "empty", "")
    server.call("SET", "", "the empty key")
    server.call("SET", b"binary\x00\xff\r\n", bytes(range(256)))
    server.call("SET", "repeated", "a" * 5000)
    server.call("SET", "text", "Ask not what your country can do for you - ask what you can do for your country. " * 3)
    server.call("SET", "k" * 300, "a key that is compressed")
    server.call("SET", "until", "2033", "PXAT", "2000000000123")
    server.call("SELECT", "9")
    server.call("SET", "plain", "in nine")
    server.call("SELECT", "0")


def by_redis():
    with Server() as server:
        server.save("empty-7.0.rdb")
        strings(server)
        server.save("strings-7.0.rdb")
        server.call("CONFIG", "SET", "rdbcompression", "no")
        server.save("uncompressed-7.0.rdb")
    with Server("--rdbchecksum", "no") as server:
        strings(server)
        server.save("unchecked-7.0.rdb")
    for policy, name in (("allkeys-lru", "lru"), ("allkeys-lfu", "lfu")):
        with Server("--maxmemory-policy", policy) as server:
            server.call("SET", "k", "v")
            payload = server.call("DUMP", "k")
            server.call("RESTORE", "idle" if name == "lru" else "freq", "0", payload,
                        *(("IDLETIME", "5000") if name == "lru" else ("FREQ", "77")))
            server.save("%s-7.0.rdb" % name)
    for name, words in (("2-set", ("SADD", "cart:7", "a", "b")),
                        ("11-intset", ("SADD", "cart:7", "1", "2")),
                        ("18-list", ("RPUSH", "cart:7", "a", "b")),
                        ("17-zset-listpack", ("ZADD", "cart:7", "1", "a")),
                        ("5-zset", ("ZADD", "cart:7", "1", "a" * 100)),
                        ("16-hash-listpack", ("HSET", "cart:7", "f", "v")),
                        ("4-hash", ("HSET", "cart:7", "f", "v" * 100)),
                        ("19-stream", ("XADD", "cart:7", "1-1", "f", "v")),
                        ("function", ("FUNCTION", "LOAD", "#!lua name=mylib\nredis.register_function('f', function() end)"))):
        with Server() as server:
            server.call(*words)
            server.save("refused-%s.rdb" % name)


if __name__ == "__main__":
    by_hand()
    if sys.argv[1:] != ["by-hand"]:
        by_redis()
