"""Reads an append-only folder by FORMAT.md alone and prints its data records, one a line, in the order of the shards."""
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
    for word, *rest in lines[4:]:
        if word == "shard":
            assert int(rest[0]) == len(shards)
            shards.append({"incr": [], "reign": []})
        elif word == "durable":
            shards[-1]["durable"] = int(rest[0])
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
    at, marks = length, 0
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
            words = " | ".join(
                " ".join(arg.decode() if i < 2 else str(len(arg)) for i, arg in enumerate(array)) for array in arrays)
            print("shard %d lsn %d end %d db %d slot %d time %d %s" % (shard, lsn, end, db, slot, time, words))
        lsn = end
    assert marks > 0
    return lsn, history


folder = sys.argv[1]
shards = read_manifest(os.path.join(folder, "manifest"))
for index, entry in enumerate(shards):
    for sequence, start in entry["incr"]:
        path = os.path.join(folder, "shard-%d" % index, "incr.%d.aof" % sequence)
        end, history = read_incr(path, index, len(shards), sequence, start)
    assert end == entry["durable"]
    assert history == entry["reign"]
