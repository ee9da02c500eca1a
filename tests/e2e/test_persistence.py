"""BGSAVE, SAVE, BGREWRITEAOF, save points, growth and the stop, as users and redis-server see them."""

import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest
import redis

import harness
import process
import resp
from conftest import skein_only

SHARDS = (1, 2, 4)


def fill(node, count=3000, tag="v"):
    """Strings of many kinds: integers, short, long, repetitive, binary, with and without an expiry."""
    values = {}
    commands = []
    for index in range(count):
        key = b"key:%d" % index
        value = (str(index).encode() if index % 5 == 0 else b"%s:%d" % (tag.encode(), index) if index % 5 == 1
                 else b"ab" * (index % 300) if index % 5 == 2 else os.urandom(index % 64))
        commands.append(("SET", key, value, "PX", 3_600_000 + index) if index % 7 == 0 else ("SET", key, value))
        values[key] = value
    with node.client() as client:
        for first in range(0, count, 500):
            assert set(client.pipeline(commands[first:first + 500])) == {b"OK"}
    return values


def everything(client, keys):
    """{key: (value, whether it expires)} as a server has them."""
    found = {}
    for key in keys:
        found[key] = (client.call("GET", key), client.call("PTTL", key) > 0)
    return found


def await_idle(node, timeout=30):
    def idle():
        fields = node.info("persistence")
        return fields["rdb_bgsave_in_progress"] == "0" and fields["aof_rewrite_in_progress"] == "0"

    assert process.wait_until(idle, timeout), node.info("persistence")


def redis_tool(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip("there is no %s here" % name)
    return path


@skein_only
@pytest.mark.parametrize("shards", SHARDS)
def test_redis_server_loads_what_bgsave_wrote(make_node, tmp_path, shards):
    node = make_node(client_loops=2, storage_shards=shards, cluster_bootstrap="yes").start()
    values = fill(node)
    assert node.call("BGSAVE") == b"Background saving started"
    await_idle(node)
    fields = node.info("persistence")
    assert fields["rdb_last_bgsave_status"] == "ok" and fields["rdb_saves"] == "1"
    assert fields["rdb_changes_since_last_save"] == "0"
    dump = node.folder / "dump.rdb"
    checked = harness.run([redis_tool("redis-check-rdb"), dump])
    assert "RDB looks OK" in checked.stdout and "Checksum OK" in checked.stdout
    assert "%d keys read" % len(values) in checked.stdout
    with node.client() as client:
        ours = everything(client, values)
    folder = tmp_path / "redis"
    folder.mkdir()
    shutil.copy(dump, folder / "dump.rdb")
    with Redis(folder) as port, resp.Client(port) as client:
        assert client.call("DBSIZE") == len(values)
        assert everything(client, values) == ours
    assert not list(node.folder.glob("temp-*.rdb"))


class Redis:
    """redis-server on a folder's dump.rdb; gives its port."""

    def __init__(self, folder):
        self.folder, self.port = folder, harness.free_port()

    def __enter__(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
             "--save", "", "--databases", "16"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def serves():
            try:
                with resp.Client(self.port) as client:
                    return client.call("PING") == b"PONG"
            except (OSError, resp.Error):
                return False

        assert process.wait_until(serves, 20)
        return self.port

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)


@skein_only
def test_databases_keep_their_numbers(make_node, tmp_path):
    node = make_node(cluster_enabled="no").start()
    with node.client() as client:
        for db in (0, 3, 15):
            client.call("SELECT", db)
            client.call("SET", "k", "in %d" % db)
        assert client.call("SAVE") == b"OK"
    folder = tmp_path / "redis"
    folder.mkdir()
    shutil.copy(node.folder / "dump.rdb", folder / "dump.rdb")
    with Redis(folder) as port, resp.Client(port) as client:
        for db in (0, 3, 15):
            client.call("SELECT", db)
            assert client.call("GET", "k") == b"in %d" % db


def test_python_client(make_node):
    node = make_node(cluster_enabled="no", appendonly="yes").start()
    client = redis.Redis(port=node.port)
    client.set("a", "1")
    before = client.lastsave()
    assert client.save() is True
    assert client.lastsave() >= before
    assert client.bgsave() is True
    await_idle(node)
    assert client.bgrewriteaof() is True
    await_idle(node)
    assert client.info("persistence")["aof_last_bgrewrite_status"] == "ok"
    with pytest.raises(redis.ResponseError, match="syntax error"):
        client.execute_command("BGSAVE", "NOW")


@skein_only
@pytest.mark.parametrize("shards", SHARDS)
def test_l17_rewrite_under_load_then_sigkill(make_node, shards):
    node = make_node(client_loops=2, storage_shards=shards, cluster_bootstrap="yes", appendonly="yes",
                     appendfsync="always").start()
    fill(node, 2000)
    acknowledged, stop = {}, threading.Event()

    def write():
        try:
            with node.client() as client:
                step = 0
                while not stop.is_set():
                    key = b"load:%d" % (step % 500)
                    value = b"%d" % step
                    client.call("SET", key, value)
                    acknowledged[key] = value
                    step += 1
        except (OSError, resp.Closed):
            pass

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        assert node.call("BGREWRITEAOF") == b"Background append only file rewriting started"
        await_idle(node)
    fields = node.info("persistence")
    assert fields["aof_last_bgrewrite_status"] == "ok" and fields["aof_rewrites"] == "3"
    assert int(fields["aof_base_size"]) > 0
    for shard in range(shards):
        assert ",ok=1" in fields["aof_shard%d" % shard]
        folder = node.folder / "appendonlydir" / ("shard-%d" % shard)
        assert len(list(folder.glob("base.*.rdb"))) == 1 and len(list(folder.glob("incr.*.aof"))) == 1
    node.call("BGREWRITEAOF")  # and while one runs
    node.kill()
    stop.set()
    writer.join(30)
    node.start()
    with node.client() as client:
        assert client.call("DBSIZE") >= 2000
        last = max(int(value) for value in acknowledged.values())
        for key, value in acknowledged.items():
            found = client.call("GET", key)
            # The last one sent may be there without having been acknowledged.
            assert found == value or int(found) == last + 1, key


@skein_only
def test_l17_replies_say_what_is(make_node):
    node = make_node(cluster_enabled="no", appendonly="yes", snapshot_max_rate="100kb", rdbcompression="no").start()
    with node.client() as client:
        for index in range(300):
            client.call("SET", "k%d" % index, "x" * 1000)
        assert client.call("BGREWRITEAOF") == b"Background append only file rewriting started"
        with pytest.raises(resp.Error, match="ERR Background append only file rewriting already in progress"):
            client.call("BGREWRITEAOF")
        with pytest.raises(resp.Error, match="Use BGSAVE SCHEDULE"):
            client.call("BGSAVE")
        assert client.call("BGSAVE", "SCHEDULE") == b"Background saving scheduled"
        fields = node.info("persistence")
        assert fields["aof_rewrite_in_progress"] == "1" and fields["rdb_bgsave_scheduled"] == "1"
        assert int(fields["current_save_keys_total"]) == 300
        client.call("CONFIG", "SET", "snapshot-max-rate", "0")
        await_idle(node)
        fields = node.info("persistence")
        assert fields["rdb_saves"] == "1" and fields["rdb_last_bgsave_status"] == "ok"
    plain = make_node(cluster_enabled="no").start()
    with plain.client() as client, pytest.raises(resp.Error, match="appendonly is no"):
        client.call("BGREWRITEAOF")
    assert plain.info("persistence")["aof_rewrite_in_progress"] == "0"


@skein_only
def test_config_set_of_each_directive(make_node):
    node = make_node(cluster_enabled="no", appendonly="yes", rdbchecksum="no").start()
    with node.client() as client:
        for name, value, shown in (("save", "900 1 60 10", None), ("save", "", None), ("rdbcompression", "no", None),
                                   ("rdb-save-incremental-fsync", "no", None),
                                   ("sanitize-dump-payload", "clients", None),
                                   ("aof-rewrite-incremental-fsync", "no", None),
                                   ("stop-writes-on-bgsave-error", "no", None),
                                   ("auto-aof-rewrite-percentage", "50", None),
                                   ("auto-aof-rewrite-min-size", "1mb", "1048576"),
                                   ("snapshot-buffer-limit", "1mb", "1048576"),
                                   ("snapshot-max-rate", "10mb", "10485760")):
            assert client.call("CONFIG", "SET", name, value) == b"OK"
            assert client.call("CONFIG", "GET", name) == [name.encode(), (shown or value).encode()]
        with pytest.raises(resp.Error, match="can't set immutable config"):
            client.call("CONFIG", "SET", "rdbchecksum", "yes")
        for name, choices in (("sanitize-dump-payload", "no, yes, clients"),
                              ("repl-diskless-load", "disabled, on-empty-db, swapdb")):
            with pytest.raises(resp.Error, match="must be one of the following: " + choices):
                client.call("CONFIG", "SET", name, "maybe")
        with pytest.raises(resp.Error, match="can't set protected config"):
            client.call("CONFIG", "SET", "dbfilename", "other.rdb")
        with pytest.raises(resp.Error, match="Invalid save parameters"):
            client.call("CONFIG", "SET", "save", "900")
        # They are obeyed: neither compressed nor summed.
        client.call("SET", "k", "a" * 10000)
        assert client.call("SAVE") == b"OK"
    raw = (node.folder / "dump.rdb").read_bytes()
    assert b"a" * 10000 in raw and raw.endswith(b"\0" * 8)
    node.call("CONFIG", "SET", "rdbcompression", "yes")
    node.call("SAVE")
    raw = (node.folder / "dump.rdb").read_bytes()
    assert len(raw) < 2000 and raw.endswith(b"\0" * 8)
    summed = make_node(cluster_enabled="no").start()
    summed.call("SET", "k", "v")
    summed.call("SAVE")
    assert not (summed.folder / "dump.rdb").read_bytes().endswith(b"\0" * 8)


@skein_only
def test_save_point_fires(make_node):
    node = make_node(cluster_enabled="no", dbfilename="by-time.rdb").start()
    with node.client() as client:
        client.call("CONFIG", "SET", "save", "1 5")
        for index in range(5):
            client.call("SET", "k%d" % index, "v")
    assert process.wait_until((node.folder / "by-time.rdb").exists, 15)
    assert node.info("persistence")["rdb_changes_since_last_save"] == "0"


@skein_only
def test_log_is_rewritten_by_growth(make_node):
    node = make_node(client_loops=1, storage_shards=2, cluster_bootstrap="yes", appendonly="yes",
                     auto_aof_rewrite_min_size="100kb").start()
    with node.client() as client:
        for index in range(600):
            client.call("SET", "same", "x" * 500)

    def rewritten():
        return int(node.info("persistence")["aof_rewrites"]) >= 1

    assert process.wait_until(rewritten, 15)
    await_idle(node)
    fields = node.info("persistence")
    assert fields["aof_last_bgrewrite_status"] == "ok"
    assert int(fields["aof_current_size"]) < 200_000
    assert node.call("GET", "same") == b"x" * 500


@skein_only
@pytest.mark.parametrize("way", ("SIGTERM", "SHUTDOWN", "SHUTDOWN SAVE", "SHUTDOWN NOSAVE"))
def test_stop_saves_if_there_are_save_points(make_node, way):
    node = make_node(cluster_enabled="no", save="" if way == "SHUTDOWN SAVE" else "3600 1").start()
    node.call("SET", "a", "1")
    if way == "SIGTERM":
        assert node.terminate() == 0
    else:
        with node.client() as client, pytest.raises((OSError, resp.Closed)):
            client.call(*way.split())
        assert node.wait() == 0
    saved = way != "SHUTDOWN NOSAVE"
    assert (node.folder / "dump.rdb").exists() == saved
    node.start()
    assert node.call("GET", "a") == (b"1" if saved else None)


@skein_only
def test_stop_that_cannot_save_is_refused_and_writes_after_a_failed_save_too(make_node):
    node = make_node(cluster_enabled="no", save="3600 1").start()
    node.call("SET", "a", "1")
    # A folder in the place of the file: it can be written, but not renamed there.
    (node.folder / "dump.rdb").mkdir()
    (node.folder / "dump.rdb" / "in-the-way").touch()
    with node.client() as client:
        with pytest.raises(resp.Error, match="ERR Errors trying to SHUTDOWN"):
            client.call("SHUTDOWN")
        with pytest.raises(resp.Error, match="MISCONF Redis is configured to save RDB snapshots.*runbooks"):
            client.call("SET", "b", "2")
        with pytest.raises(resp.Error, match="MISCONF"):
            client.call("FLUSHALL")
        assert client.call("GET", "a") == b"1"
        client.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        assert client.call("SET", "b", "2") == b"OK"
        client.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
        assert node.info("persistence")["rdb_last_bgsave_status"] == "err"
        shutil.rmtree(node.folder / "dump.rdb")
        assert client.call("SAVE") == b"OK"
        assert client.call("SET", "c", "3") == b"OK"
    assert not list(node.folder.glob("temp-*.rdb"))
    assert node.terminate() == 0
    node.start()
    assert [node.call("GET", key) for key in ("a", "b", "c")] == [b"1", b"2", b"3"]


@skein_only
def test_leftovers_of_a_crash_are_removed(make_node):
    node = make_node(cluster_enabled="no")
    pathlib.Path(node.folder, "temp-99999999.rdb").write_bytes(b"half")
    node.start()
    assert not (node.folder / "temp-99999999.rdb").exists()


@skein_only
def test_saving_while_flushed_and_filled_again(make_node):
    node = make_node(client_loops=2, storage_shards=2, cluster_bootstrap="yes", snapshot_max_rate="1mb",
                     rdbcompression="no").start()
    values = fill(node, 2000)
    assert node.call("BGSAVE") == b"Background saving started"
    node.call("FLUSHALL")
    fill(node, 100, "new")
    await_idle(node)
    checked = harness.run([redis_tool("redis-check-rdb"), node.folder / "dump.rdb"])
    assert "%d keys read" % len(values) in checked.stdout


@skein_only
def test_dump_payloads_are_those_of_redis_server(make_node, tmp_path):
    node = make_node(cluster_enabled="no").start()
    folder = tmp_path / "redis"
    folder.mkdir()
    values = [b"a" * length for length in (1, 19, 20, 21, 22, 64, 5000)] + [
        b"12345", b"-1", b"2147483648", b"abcdefghijklmnopqrstuvwxyz" * 2, bytes(range(256)), os.urandom(64), b""]
    with Redis(folder) as port, resp.Client(port) as theirs, node.client() as ours:
        for choice in ("no", "yes"):
            for client in (theirs, ours):
                assert client.call("CONFIG", "SET", "rdbcompression", choice) == b"OK"
            for value in values:
                for client in (theirs, ours):
                    client.call("SET", "k", value)
                assert ours.call("DUMP", "k") == theirs.call("DUMP", "k"), (choice, value[:30])


@skein_only
def test_resetstat_resets_what_redis_resets(make_node):
    node = make_node(cluster_enabled="no", appendonly="yes").start()
    with node.client() as client:
        client.call("SET", "a", "1", "PX", 1)
        assert process.wait_until(lambda: node.info("stats")["expired_keys"] == "1", 10)
        client.call("GET", "a")
        assert client.call("SAVE") == b"OK"
        assert client.call("BGREWRITEAOF").startswith(b"Background")
        await_idle(node)
        before = node.info()
        assert before["rdb_saves"] == "1" and before["aof_rewrites"] == "1" and before["keyspace_misses"] == "1"
        assert client.call("CONFIG", "RESETSTAT") == b"OK"
        after = node.info()
    for name in ("rdb_saves", "aof_rewrites", "aof_delayed_fsync", "expired_keys", "keyspace_hits", "keyspace_misses"):
        assert after[name] == "0", name
    for name in ("rdb_last_save_time", "rdb_last_bgsave_time_sec", "aof_last_rewrite_time_sec",
                 "aof_base_size", "run_id"):
        assert after[name] == before[name], name


@skein_only
def test_bases_carry_a_checksum_whatever_rdbchecksum_says(make_node):
    node = make_node(cluster_bootstrap="yes", storage_shards=2, appendonly="yes", rdbchecksum="no").start()
    node.await_state("ok")
    fill(node, 200)
    assert node.call("BGREWRITEAOF").startswith(b"Background")
    await_idle(node)
    assert node.call("SAVE") == b"OK"
    bases = list(node.folder.glob("appendonlydir/shard-*/base.*.rdb"))
    assert len(bases) == 2 and all(base.read_bytes()[-8:] != bytes(8) for base in bases)
    assert (node.folder / "dump.rdb").read_bytes()[-8:] == bytes(8)
    assert node.terminate() == 0
    # So a flipped bit in a value is found.
    raw = bytearray(bases[0].read_bytes())
    at = raw.index(b"ababab") if b"ababab" in raw else len(raw) - 20
    raw[at] ^= 1
    bases[0].write_bytes(raw)
    node.launch()
    assert node.process.wait(30) == 2 and "corrupt-file.md" in node.log_text()
