"""A folder that redis-server filled and left, stopped or killed: Skein starts on it and has every key with its time."""

import os
import shutil
import signal
import subprocess

import pytest

import harness
import process
import resp
from conftest import skein_only

SECONDS = 30


class Peer:
    """A redis-server on a folder."""

    def __init__(self, folder, *words):
        self.port = harness.free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder),
                                         "--save", "", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        def answers():
            try:
                with self.client() as client:
                    return client.call("PING") == b"PONG"
            except (OSError, resp.Error):
                return False

        assert process.wait_until(answers, SECONDS)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(SECONDS)

    def client(self):
        return resp.Client(self.port, timeout=SECONDS)


def fill(client, databases):
    """Effects of many commands, so that the file holds many kinds; then a picture of what there is."""
    for db in databases:
        client.call("SELECT", db)
        for index in range(300):
            key = "key:%d:%d" % (db, index)
            client.call("SET", key, "value %d" % index if index % 3 else str(index))
            if index % 4 == 0:
                client.call("PEXPIRE", key, 3_600_000 + index)
            if index % 5 == 0:
                client.call("APPEND", key, os.urandom(index))
            if index % 7 == 0:
                client.call("INCRBY", "count:%d" % db, index)
            if index % 11 == 0:
                client.call("DEL", key)
        client.call("SET", "kept:%d" % db, "x", "EX", 10_000)
        client.call("SETRANGE", "kept:%d" % db, 5, "yz")
        client.call("GETEX", "kept:%d" % db, "PERSIST")
        client.call("MULTI")
        client.call("MSET", "{t}a%d" % db, "1", "{t}b%d" % db, "2")
        client.call("RENAME", "{t}a%d" % db, "{t}c%d" % db)
        client.call("EXEC")
    return picture(client, databases)


def picture(client, databases):
    held = {}
    for db in databases:
        if len(databases) > 1 or db != 0:
            client.call("SELECT", db)
        cursor = b"0"
        while True:
            cursor, keys = client.call("SCAN", cursor, "COUNT", 500)
            for key in keys:
                held[db, key] = (client.call("GET", key), client.call("PEXPIRETIME", key))
            if cursor == b"0":
                break
    return held


def make(folder, kind, databases):
    words = ["--appendonly", "no" if kind == "dump" else "yes", "--appendfsync", "always"]
    if kind == "stamped":
        words += ["--aof-timestamp-enabled", "yes"]
    if kind == "resp base":
        words += ["--aof-use-rdb-preamble", "no"]
    with Peer(folder, *words) as peer, peer.client() as client:
        want = fill(client, databases)
        if kind in ("rewritten", "resp base"):
            client.call("BGREWRITEAOF")

            def done():
                fields = resp.fields(client.call("INFO", "persistence"))
                return fields["aof_rewrite_in_progress"] == "0" and fields["aof_rewrite_scheduled"] == "0"

            assert process.wait_until(done, SECONDS)
            client.call("SELECT", databases[0])
            client.call("SET", "after", "the rewrite")
            want = picture(client, databases)
        if kind == "dump":
            client.call("SAVE")
    if kind in ("single", "preamble"):
        # What versions before 7 had: one file, here the parts of the new form one after the other.
        parts = folder / "appendonlydir"
        names = ["appendonly.aof.1.base.rdb"] if kind == "preamble" else []
        whole = b"".join((parts / name).read_bytes() for name in names + ["appendonly.aof.1.incr.aof"])
        (folder / "appendonly.aof").write_bytes(whole)
        shutil.rmtree(parts)
    return want


KINDS = ("fresh", "rewritten", "resp base", "stamped", "single", "preamble", "dump")


@skein_only
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", (0, 3))
def test_a_folder_of_redis_is_taken_in(tmp_path, kind, shards):
    """Shards 0: without a cluster, several databases."""
    folder = tmp_path / "data"
    databases = [0] if shards else [0, 3, 9]
    want = make(folder, kind, databases)
    directives = {"appendonly": "yes", "appendfsync": "always"}
    if shards:
        directives.update(storage_shards=shards, cluster_bootstrap="yes")
    else:
        directives.update(cluster_enabled="no")
    node = harness.Node(folder, **directives)
    before = sorted(path.name for path in folder.iterdir())
    check = subprocess.run([*node.command(), "--check-config"], capture_output=True, text=True, timeout=SECONDS)
    assert check.returncode == 0, check.stderr
    assert sorted(path.name for path in folder.iterdir()) == before, "checking changes nothing"
    try:
        for _ in range(2):  # and once more, as a data set of its own
            node.start()
            with node.client() as client:
                assert picture(client, databases) == want
            node.kill()
        assert any(".imported-" in path.name for path in folder.iterdir())
        assert (folder / "appendonlydir" / "manifest").exists()
    finally:
        node.clean_up()


@skein_only
def test_without_appendonly_the_dump_is_loaded(tmp_path):
    folder = tmp_path / "data"
    want = make(folder, "dump", [0, 2])
    node = harness.Node(folder, cluster_enabled="no", appendonly="no")
    try:
        node.start()
        with node.client() as client:
            assert picture(client, [0, 2]) == want
        node.kill()
        rdb = bytearray((folder / "dump.rdb").read_bytes())
        rdb[len(rdb) // 2] ^= 1
        (folder / "dump.rdb").write_bytes(rdb)
        node.launch()
        assert node.wait() == 2
        check = subprocess.run([*node.command(), "--check-config"], capture_output=True, text=True, timeout=SECONDS)
        assert check.returncode == 2
        assert "dump.rdb" in check.stderr and "see ops/runbooks/" in check.stderr
        assert check.stderr.strip().splitlines()[-1] in node.log_text(), "L14: the same words"
    finally:
        node.clean_up()


@skein_only
def test_what_cannot_be_held_is_named(tmp_path):
    folder = tmp_path / "data"
    with Peer(folder, "--appendonly", "yes", "--appendfsync", "always") as peer, peer.client() as client:
        client.call("SET", "a", "1")
        client.call("RPUSH", "cart", "x")
    node = harness.Node(folder, cluster_enabled="no", appendonly="yes")
    try:
        node.launch()
        assert node.wait() == 2
        assert "command 'RPUSH' cannot be run: it is about a list" in node.log_text()
        assert not any(".imported-" in path.name for path in folder.iterdir())
    finally:
        node.clean_up()
