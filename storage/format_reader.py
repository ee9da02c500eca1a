"""Reads an append-only folder by FORMAT.md alone. Prints its data records, one a line, in the order of the shards; with
"state" behind the folder instead the keys that bases and records make, sorted."""
import os
import re
import struct
import sys

TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ 0x82F63B78 if n & 1 else n >> 1
    TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def read_manifest(path):
    text = open(path, "rb").read()
    body, line = text[:-18], text[-18:]
    assert line == b"checksum %08x\n" % crc32c(body), "manifest checksum"
    lines = [one.split(" ") for one in body.decode("ascii").splitlines()]
    assert lines[0] == ["skein-manifest", "1"] and lines[1][0] == "sequence"
    assert lines[2][0] == "shards" and lines[2][2] in ("configured", "defaulted", "inherited")
    assert lines[3][0] == "databases"
    shards = []
    if lines[4][0] == "off":
        assert int(lines.pop(4)[1]) > 0
    for word, *rest in lines[4:]:
        if word == "shard":
            assert int(rest[0]) == len(shards)
            shards.append({"incr": [], "reign": []})
        elif word == "durable":
            shards[-1]["durable"] = int(rest[0])
        elif word == "base":
            shards[-1]["base"] = (int(rest[0]), int(rest[1]))
        elif word == "incr":
            shards[-1]["incr"].append((int(rest[0]), int(rest[1])))
        elif word == "reign":
            shards[-1]["reign"].append((rest[0], int(rest[1]), int(rest[2])))
        else:
            raise ValueError(word)
    assert len(shards) == int(lines[2][1])
    return shards


def read_resp(body):
    arrays, at = [], 0

    def number(sign):
        nonlocal at
        end = body.index(b"\r\n", at)
        found = re.fullmatch(rb"[%c](0|[1-9][0-9]*)" % sign, body[at:end])
        assert found, body[at:end]
        at = end + 2
        return int(found[1])

    while at < len(body):
        array = []
        for _ in range(number(ord("*"))):
            size = number(ord("$"))
            array.append(body[at:at + size])
            assert body[at + size:at + size + 2] == b"\r\n"
            at += size + 2
        arrays.append(array)
    return arrays


def read_incr(path, shard, count, sequence, start):
    data = open(path, "rb").read()
    assert data[:8] == b"SKEINAOF"
    version, length, shard_, count_, lsn, sequence_, salt, _, reigns, zero = struct.unpack_from("<IIIIQQQqII", data, 8)
    assert (version, shard_, count_, lsn, sequence_, zero) == (1, shard, count, start, sequence, 0)
    assert length == 68 + 32 * reigns
    assert struct.unpack_from("<I", data, length - 4)[0] == crc32c(data[:length - 4])
    history = []
    for i in range(reigns):
        reign_id, epoch, first = struct.unpack_from("<16sQQ", data, 64 + 32 * i)
        history.append((reign_id.hex(), epoch, first))
    records, at, marks = [], length, 0
    while at < len(data):
        head = data[at:at + 40]
        assert struct.unpack_from("<I", head, 36)[0] == crc32c(head[:36]), "damage at offset %d (LSN %d)" % (at, lsn)
        at += 40
        if head[:8] == b"MSKNMARK":
            position, durable, salt_, zero = struct.unpack_from("<QQQI", head, 8)
            assert (position, salt_, zero) == (lsn, salt, 0) and durable <= lsn
            marks += 1
            continue
        kind, flags, db, slot, zero, lsn_, time, size, body_crc = struct.unpack_from("<BBHHHQqQI", head, 0)
        assert (flags, zero, lsn_) == (0, 0, lsn) and kind in (1, 2, 3)
        body = data[at:at + size]
        assert len(body) == size and crc32c(body) == body_crc
        at += size
        end = lsn + 40 + size
        arrays = read_resp(body)
        if kind == 2:
            (word, reign_id, epoch), = arrays
            assert word == b"REIGN"
            history.append((reign_id.decode(), int(epoch), lsn))
        elif kind == 1:
            records.append((lsn, end, db, slot, time, arrays))
        lsn = end
    return records, marks, lsn, history


# ---- Bases: RDB files with strings --------------------------------------------------------------------------------------

def crc64(data):
    """Of RDB files: polynomial ad93d23594c935a9, reflected, initial value 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x95AC9329AC4BC9B5 if crc & 1 else crc >> 1
    return crc


assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA


def lzf(data, size):
    out, at = bytearray(), 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            out += data[at:at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        back = ((control & 31) << 8 | data[at]) + 1
        at += 1
        for _ in range(length + 2):
            out.append(out[-back])
    assert len(out) == size
    return bytes(out)


class Rdb:
    """`aux`: (name, value) in order; `keys`: {(db, key): (value, expiry or None)}."""

    def __init__(self, path):
        self.data = open(path, "rb").read()
        assert self.data[:9] == b"REDIS0010"
        self.at, self.aux, self.keys = 9, [], {}
        db, expiry, ended = 0, None, False
        while not ended:
            code = self.take(1)[0]
            if code == 0xFA:
                assert not self.keys, "fields stand before the first key"
                self.aux.append((self.string().decode(), self.string().decode()))
            elif code == 0xFE:
                db, _ = self.length()
            elif code == 0xFB:
                self.length(), self.length()
            elif code == 0xFC:
                expiry, = struct.unpack("<q", self.take(8))
            elif code == 0xF8:
                self.length()  # seconds without use
            elif code == 0xF9:
                self.take(1)  # how often it is used
            elif code == 0xFF:
                ended = True
            else:
                assert code == 0, "a string"
                key = self.string()
                assert (db, key) not in self.keys
                self.keys[db, key] = (self.string(), expiry)
                expiry = None
        checksum, = struct.unpack("<Q", self.take(8))
        assert checksum == crc64(self.data[:-8]) and self.at == len(self.data)

    def take(self, size):
        self.at += size
        assert self.at <= len(self.data)
        return self.data[self.at - size:self.at]

    def length(self):
        """(number, None), or (None, encoding)"""
        first = self.take(1)[0]
        if first >> 6 == 0:
            return first & 63, None
        if first >> 6 == 1:
            return (first & 63) << 8 | self.take(1)[0], None
        if first in (0x80, 0x81):
            return int.from_bytes(self.take(4 if first == 0x80 else 8), "big"), None
        return None, first & 63

    def string(self):
        size, encoding = self.length()
        if encoding is None:
            return self.take(size)
        if encoding < 3:
            return b"%d" % int.from_bytes(self.take(1 << encoding), "little", signed=True)
        assert encoding == 3
        (packed, _), (size, _) = self.length(), self.length()
        return lzf(self.take(packed), size)


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def slot_of(key):
    opened = key.find(b"{")
    closed = key.find(b"}", opened + 1)
    if opened >= 0 and closed > opened + 1:
        key = key[opened + 1:closed]
    return crc16(key) % 16384


def read_base(path, shard, count, lsn):
    """The keys, and the history that it tells."""
    rdb = Rdb(path)
    named = dict(rdb.aux)
    assert (named["skein-shard"], named["skein-shards"], named["skein-lsn"]) == (str(shard), str(count), str(lsn))
    assert int(named["skein-time"]) > 0
    assert all(slot_of(key) % count == shard for _, key in rdb.keys)
    words = [value.split(" ") for name, value in rdb.aux if name == "skein-reign"]
    assert len(rdb.aux) - len(words) == len(named) - bool(words), "each once but the last"
    return rdb.keys, [(reign_id, int(epoch), int(first)) for reign_id, epoch, first in words]


# ---- Effects ---------------------------------------------------------------------------------------------------------

def apply(keys, db, arrays):
    for word, *args in arrays:
        key = (db, args[0]) if args else None
        held = keys.get(key)
        if word == b"SELECT":
            db = int(args[0])
        elif word == b"SET":
            expiry = held[1] if args[2:] == [b"KEEPTTL"] and held else None
            if args[2:3] == [b"PXAT"]:
                expiry = int(args[3])
            keys[key] = (args[1], expiry)
        elif word == b"APPEND":
            keys[key] = ((held[0] if held else b"") + args[1], held and held[1])
        elif word == b"SETRANGE":
            value = bytearray(held[0] if held else b"")
            offset = int(args[1])
            value += bytes(max(0, offset - len(value)))
            value[offset:offset + len(args[2])] = args[2]
            keys[key] = (bytes(value), held and held[1])
        elif word == b"DEL":
            keys.pop(key, None)
        elif word == b"PEXPIREAT":
            keys[key] = (held[0], int(args[1]))
        elif word == b"PERSIST":
            keys[key] = (held[0], None)
        elif word == b"RENAME":
            keys[db, args[1]] = keys.pop(key)
        elif word == b"MOVE":
            keys[int(args[1]), args[0]] = keys.pop(key)
        elif word == b"COPY":
            assert args[2] == b"DB" and args[4] == b"REPLACE"
            keys[int(args[3]), args[1]] = held
        elif word in (b"FLUSHDB", b"FLUSHALL"):
            for at in [at for at in keys if word == b"FLUSHALL" or at[0] == db]:
                del keys[at]
        elif word == b"SWAPDB":
            other = {int(args[0]): int(args[1]), int(args[1]): int(args[0])}
            moved = {(other.get(at[0], at[0]), at[1]): held for at, held in keys.items()}
            keys.clear()
            keys.update(moved)
        else:
            raise ValueError(word)


# ---- A folder --------------------------------------------------------------------------------------------------------

def main(folder, state):
    everything, marks, words = {}, 0, set()
    shards = read_manifest(os.path.join(folder, "manifest"))
    for index, entry in enumerate(shards):
        place = os.path.join(folder, "shard-%d" % index)
        keys, base_lsn, base_history = {}, 0, None
        if "base" in entry:
            sequence, base_lsn = entry["base"]
            keys, base_history = read_base(os.path.join(place, "base.%d.rdb" % sequence), index, len(shards), base_lsn)
        assert entry["incr"][0][1] <= base_lsn
        for sequence, start in entry["incr"]:
            path = os.path.join(place, "incr.%d.aof" % sequence)
            records, more_marks, end, history = read_incr(path, index, len(shards), sequence, start)
            marks += more_marks
            for lsn, record_end, db, slot, time, arrays in records:
                assert lsn >= base_lsn or record_end <= base_lsn
                if lsn >= base_lsn:
                    apply(keys, db, arrays)
                    words.update(array[0] for array in arrays)
                if not state:
                    text = " | ".join(" ".join(arg.decode() if i < 2 else str(len(arg)) for i, arg in enumerate(array))
                                      for array in arrays)
                    print("shard %d lsn %d end %d db %d slot %d time %d %s"
                          % (index, lsn, record_end, db, slot, time, text))
        assert end == entry["durable"]
        assert history == entry["reign"]
        if base_history is not None:
            assert base_history == [reign for reign in history if reign[2] < base_lsn]
        everything.update({(db, key, index): held for (db, key), held in keys.items()})
    assert marks > 0
    if state:
        for (db, key, index), (value, expiry) in sorted(everything.items()):
            print("%d %s %s %08x %d" % (db, key.decode(), -1 if expiry is None else expiry, crc32c(value), len(value)))
        print(" ".join(sorted(word.decode() for word in words)))


main(sys.argv[1], sys.argv[2:] == ["state"])
