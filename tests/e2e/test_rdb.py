"""The RDB format between Skein and redis-server 7.0: payloads of DUMP both ways, files both ways."""

import pathlib
import shutil
import subprocess
import time

import pytest

import harness
import resp
import servers
from conftest import skein_only

pytestmark = skein_only

FIXTURES = harness.ROOT / "storage" / "rdb" / "testdata"
TEXT = "Ask not what your country can do for you - ask what you can do for your country. "
VALUES = {
    "zero": "0", "int8": "-128", "int16": "32767", "int32": "-2147483648", "int64": "9223372036854775807",
    "beyond": "9223372036854775808", "leading": "007", "float": "3.25", "empty": "", "short": "text",
    "embstr": "x" * 44, "raw": "y" * 45, "twenty": "z" * 20, "long": TEXT * 50, "compressible": "ab" * 5000,
    "binary": bytes(range(256)) * 3, "noise": bytes((i * 2654435761 >> 11) & 255 for i in range(5000)),
    "megabyte": (TEXT * 12600)[:1 << 20], "zeros": b"\0" * (1 << 20),
}


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


@pytest.fixture(scope="module")
def redis_peer(tmp_path_factory):
    """redis-server 7.0, alone."""
    folder = tmp_path_factory.mktemp("peer") / "redis"
    folder.mkdir()
    port = servers.free_port()
    with open(folder / "server.log", "ab") as log:
        peer = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir",
                                 str(folder), "--enable-debug-command", "local"],
                                stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT)
    try:
        assert harness.process.wait_until(lambda: not harness.ports.is_free(port), 30)
        with resp.Client(port) as client:
            client.folder = folder
            yield client
    finally:
        peer.terminate()
        peer.wait(30)


@pytest.fixture
def skein(make_node):
    node = make_node(cluster_enabled="no").start()
    with node.client() as client:
        client.node = node
        yield client


@pytest.mark.parametrize("name", VALUES)
def test_payloads_pass_both_ways(skein, redis_peer, name):
    value = as_bytes(VALUES[name])
    skein.call("SET", name, value)
    redis_peer.call("SET", name, value)
    for source, target in ((skein, redis_peer), (redis_peer, skein)):
        payload = source.call("DUMP", name)
        assert target.call("RESTORE", name, 0, payload, "REPLACE") == b"OK"
        assert target.call("GET", name) == value
        assert target.call("TTL", name) == -1
        assert target.call("OBJECT", "ENCODING", name) == source.call("OBJECT", "ENCODING", name)
        later = int(time.time() * 1000) + 1000000
        assert target.call("RESTORE", name, later, payload, "REPLACE", "ABSTTL") == b"OK"
        assert target.call("PEXPIRETIME", name) == later
        assert target.call("RESTORE", name, 50000, payload, "REPLACE", "IDLETIME", 1000) == b"OK"
        assert 40 < target.call("TTL", name) <= 50
        assert 1000 <= target.call("OBJECT", "IDLETIME", name) < 1100
        # It comes back from the other side as it went.
        assert target.call("DUMP", name)[-10:-8] == b"\x0a\0"


def test_payloads_of_other_types_are_named_and_refused(skein, redis_peer):
    for name, words in (("list (quicklist)", ("RPUSH", "k", "a")), ("set (intset)", ("SADD", "k", "1")),
                        ("hash (listpack)", ("HSET", "k", "f", "v")), ("sorted set (listpack)", ("ZADD", "k", "1", "a")),
                        ("stream (version 2)", ("XADD", "k", "*", "f", "v"))):
        redis_peer.call("DEL", "k")
        redis_peer.call(*words)
        with pytest.raises(resp.Error) as caught:
            skein.call("RESTORE", "k", 0, redis_peer.call("DUMP", "k"))
        assert str(caught.value) == "ERR the value is a %s, which this version cannot hold" % name
    assert skein.call("EXISTS", "k") == 0


def test_a_restored_key_survives_a_kill(make_node):
    node = make_node(cluster_enabled="no", appendonly="yes", appendfsync="always").start()
    later = int(time.time() * 1000) + 1000000
    with node.client() as client:
        client.call("SET", "a", TEXT)
        payload = client.call("DUMP", "a")
        assert client.call("RESTORE", "b", later, payload, "ABSTTL") == b"OK"
        assert client.call("RESTORE", "a", 1, payload, "ABSTTL", "REPLACE") == b"OK"
    node.kill()
    node.start()
    with node.client() as client:
        assert client.call("GET", "b") == TEXT.encode()
        assert client.call("PEXPIRETIME", "b") == later
        assert client.call("GET", "a") is None


def test_our_file_is_good_for_redis(skein, redis_peer):
    """redis-check-rdb finds nothing wrong, and redis-server holds the same data after loading it."""
    later = int(time.time() * 1000) + 1000000
    skein.call("FLUSHALL")
    for name, value in VALUES.items():
        skein.call("SET", name, value)
    skein.call("SET", "b\0in\xff", "binary name", "PXAT", later)
    skein.call("SELECT", 9)
    skein.call("SET", "plain", "in nine")
    skein.call("SELECT", 0)
    assert skein.call("SAVE") == b"OK"
    file = skein.node.folder / "dump.rdb"
    check = shutil.which("redis-check-rdb")
    assert check, "redis-check-rdb comes with redis-tools"
    done = subprocess.run([check, str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 0 and b"RDB looks OK" in done.stdout, done.stdout.decode(errors="replace")
    assert b"%d keys read" % (len(VALUES) + 2) in done.stdout
    redis_peer.call("FLUSHALL")
    shutil.copy(file, pathlib.Path(redis_peer.folder) / "dump.rdb")
    assert redis_peer.call("DEBUG", "RELOAD", "NOSAVE") == b"OK"
    for name, value in VALUES.items():
        assert redis_peer.call("GET", name) == as_bytes(value), name
    assert redis_peer.call("PEXPIRETIME", "b\0in\xff") == later
    redis_peer.call("SELECT", 9)
    assert redis_peer.call("GET", "plain") == b"in nine"
    redis_peer.call("SELECT", 0)


def test_the_fixtures_by_hand_are_what_the_script_makes(tmp_path):
    """Those of the unit tests, that is: nobody has changed a file without its script."""
    copy = tmp_path / "storage" / "rdb" / "testdata"
    copy.mkdir(parents=True)
    shutil.copytree(harness.ROOT / "ops" / "lib", tmp_path / "ops" / "lib")
    shutil.copy(FIXTURES / "make.py", copy)
    subprocess.run(["/usr/bin/python3", "-B", str(copy / "make.py"), "by-hand"], check=True, timeout=60)
    made = sorted(copy.glob("*.rdb"))
    assert len(made) > 20
    for file in made:
        assert file.read_bytes() == (FIXTURES / file.name).read_bytes(), file.name
