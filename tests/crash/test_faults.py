"""A real node on a disk that fills up, fails, hangs and writes short: refused with a reason, read all the same, and
nothing acknowledged is lost.

Needs root, for a small tmpfs. SKEIN_FAULTY_DISK names the library of faulty_disk.c (ops/test sets it).
"""

import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(ROOT / "ops" / "lib"), str(ROOT / "tests" / "e2e")]

import process  # noqa: E402
import resp  # noqa: E402
from cells import Node  # noqa: E402

LIBRARY = os.environ.get("SKEIN_FAULTY_DISK") or str(ROOT / "bazel-bin" / "tests" / "crash" / "libfaulty_disk.so")
SHARDS = 2
EIO, ENOSPC, EROFS = 5, 28, 30
VALUE = "v" * 1000


class Disk:
    """The folder of a node under libfaulty_disk.so, and what is wrong with it."""

    def __init__(self, folder):
        self.folder = folder
        self.control = folder / "control"
        self.data = folder / "data"
        self.data.mkdir()
        self.says()

    def says(self, *lines):
        aside = self.control.with_suffix(".new")
        aside.write_text("".join(line + "\n" for line in lines), encoding="ascii")
        os.replace(aside, self.control)

    def environment(self):
        return {"LD_PRELOAD": LIBRARY, "SKEIN_FAULT_DIR": str(self.data), "SKEIN_FAULT_CONTROL": str(self.control)}


class Ledger:
    """What one client was told: by key the value that was acknowledged last, and those that may have been kept."""

    def __init__(self):
        self.acknowledged, self.possible = {}, {}

    def write(self, client, key, value):
        """The reply: b"OK", or the text of the error."""
        self.possible.setdefault(key, []).append(value)
        try:
            client.call("SET", key, value)
        except resp.Error as error:
            return str(error)
        self.acknowledged[key] = value
        self.possible[key] = []
        return b"OK"

    def check(self, node):
        """After a start: nothing acknowledged is lost, nothing is there that nobody sent."""
        with node.client(timeout=30) as client:
            for key, values in self.possible.items():
                found = client.call("GET", key)
                allowed = [self.acknowledged.get(key), *values]
                assert (found and found.decode()) in allowed, (key, found, allowed)


@pytest.fixture
def tmpfs(tmp_path):
    """A disk of eight megabytes."""
    assert os.geteuid() == 0, "mounting a tmpfs needs root"
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "skein-crash", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def disk(tmp_path):
    assert os.path.exists(LIBRARY), "build //tests/crash:libfaulty_disk.so"
    return Disk(tmp_path)


@pytest.fixture
def make_node(tmp_path):
    made = []

    def make(data, policy, environment=None, **directives):
        node = Node(tmp_path / ("node-%d" % len(made)), dir=data, cluster_bootstrap="yes", appendonly="yes",
                    appendfsync=policy, save="", client_loops=2, storage_shards=SHARDS,
                    auto_aof_rewrite_percentage="0", **directives)
        node.environment.update(environment or {})
        made.append(node)
        return node

    yield make
    for node in made:
        node.clean_up()


def keys():
    """Keys without end, over both shards."""
    number = 0
    while True:
        yield "key:%d" % number
        number += 1


def write_until_refused(client, ledger, source, timeout=30):
    """Fills the disk; returns the refusal. How many writes that takes depends on the machine."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        key = next(source)
        reply = ledger.write(client, key, VALUE)
        if reply != b"OK":
            return key, reply
    pytest.fail("nothing was refused")


def await_writes(client, ledger, source, timeout=15):
    """Writes come back by themselves: on every shard."""
    def works():
        return all(ledger.write(client, next(source), "again") == b"OK" for _ in range(8))

    assert process.wait_until(works, timeout, interval=0.1), ledger.write(client, next(source), "again")


def await_written(node):
    """Everything has been given to the system, which survives SIGKILL."""
    assert process.wait_until(lambda: node.info("persistence")["aof_buffer_length"] == "0", 20)


def refused_and_back(node, ledger, source, make_worse, make_better, reason):
    """The whole story of a disk that refuses writes for a while."""
    with node.client(timeout=30) as client:
        assert ledger.write(client, "before", "1") == b"OK"
        make_worse()
        _, refusal = write_until_refused(client, ledger, source)
        assert refusal.startswith("MISCONF") and reason in refusal and "shard" in refusal, refusal
        assert "ops/runbooks/" in refusal, refusal
        assert client.call("GET", "before") == b"1", "reads go on"
        state = node.info("persistence")
        assert state["aof_last_write_status"] == "err"
        assert int(state["aof_write_errors"]) > 0
        assert reason in state["aof_last_error"], state["aof_last_error"]
        make_better()
        await_writes(client, ledger, source)
        assert node.info("persistence")["aof_last_write_status"] == "ok"
        await_written(node)
    assert reason in node.log_text() and "shard" in node.log_text()
    node.kill()
    node.environment.clear()
    node.ready()
    ledger.check(node)


@pytest.mark.parametrize("policy", ("always", "everysec", "no"))
def test_L15_a_full_disk_refuses_writes_until_there_is_room(make_node, tmpfs, policy):
    node = make_node(tmpfs, policy).ready()
    filler = tmpfs / "filler"

    def fill():
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    refused_and_back(node, Ledger(), keys(), fill, filler.unlink, "No space left on device")


@pytest.mark.parametrize("policy", ("always", "everysec"))
@pytest.mark.parametrize("errno, reason", ((EIO, "Input/output error"), (EROFS, "Read-only file system")))
def test_L15_writes_that_fail_are_refused_until_they_work(make_node, disk, policy, errno, reason):
    node = make_node(disk.data, policy, disk.environment()).ready()
    refused_and_back(node, Ledger(), keys(), lambda: disk.says("pwritev fail %d" % errno), disk.says, reason)


def test_L15_a_disk_that_can_neither_write_nor_truncate(make_node, disk):
    node = make_node(disk.data, "always", disk.environment()).ready()
    refused_and_back(node, Ledger(), keys(), lambda: disk.says("pwritev fail 5", "ftruncate fail 5"), disk.says,
                     "Input/output error")


def test_a_read_only_file_system_refuses_the_start(make_node, tmpfs):
    node = make_node(tmpfs, "always").ready()
    ledger = Ledger()
    with node.client() as client:
        assert ledger.write(client, "kept", "1") == b"OK"
    assert node.terminate() == 0
    # A file system with files open for writing cannot be remounted: this happens to a node that is down.
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    node.launch()
    assert node.wait(30) == 2
    assert "Read-only file system" in node.log_text()
    subprocess.run(["mount", "-o", "remount,rw", str(tmpfs)], check=True)
    node.ready()
    ledger.check(node)


@pytest.mark.parametrize("policy", ("always", "everysec"))
def test_short_writes_are_made_whole(make_node, disk, policy):
    node = make_node(disk.data, policy, disk.environment()).ready()
    ledger, source = Ledger(), keys()
    disk.says("pwritev short 13")
    with node.client() as client:
        for _ in range(200):
            assert ledger.write(client, next(source), "short") == b"OK"
        await_written(node)
    node.kill()
    node.environment.clear()
    node.ready()
    assert len(ledger.acknowledged) == 200
    ledger.check(node)


def test_L15_a_failed_sync_under_always_ends_the_process(make_node, disk):
    node = make_node(disk.data, "always", disk.environment()).ready()
    ledger = Ledger()
    with node.client() as client:
        for number in range(50):
            assert ledger.write(client, "key:%d" % number, str(number)) == b"OK"
        disk.says("fdatasync fail %d" % EIO)
        ledger.possible["key:0"] = ["unknown"]
        # No OK may leave: the process is gone, or says that it failed.
        with pytest.raises((resp.Error, OSError)):
            client.call("SET", "key:0", "unknown")
    assert node.wait(30) == 1
    assert "Input/output error" in node.log_text() and "failed-sync" in node.log_text()
    disk.says()
    node.ready()
    ledger.check(node)


def test_L15_a_failed_sync_under_everysec_needs_a_new_base(make_node, disk):
    node = make_node(disk.data, "everysec", disk.environment()).ready()
    ledger, source = Ledger(), keys()
    with node.client(timeout=30) as client:
        for _ in range(100):
            assert ledger.write(client, next(source), "1") == b"OK"
        disk.says("fdatasync fail %d" % EIO)

        def refused():
            return ledger.write(client, next(source), "2") != b"OK"

        assert process.wait_until(refused, 10)
        refusal = ledger.write(client, next(source), "2")
        # Both shards fail, but not in the same instant.
        assert refusal == b"OK" or refusal.startswith("MISCONF Errors syncing"), refusal
        assert client.call("GET", "key:0") == b"1"
        state = node.info("persistence")
        assert state["aof_last_write_status"] == "err"
        assert int(state["aof_fsync_errors"]) > 0
        disk.says()
        await_writes(client, ledger, source, timeout=30)
        state = node.info("persistence")
        assert state["aof_last_write_status"] == "ok"
        assert int(state["aof_base_size"]) > 0, "the way back leads over a new base"
        # A second and a sync later all of it is on disk; what came back is kept like everything else.
        assert process.wait_until(lambda: synced(node), 10)
    node.kill()
    node.environment.clear()
    node.ready()
    ledger.check(node)


def synced(node):
    state = node.info("persistence")
    shards = [dict(part.split("=") for part in state["aof_shard%d" % number].split(",")) for number in range(SHARDS)]
    return all(shard["durable"] == shard["end"] for shard in shards)


def test_L06_no_reply_before_the_sync_and_syncs_are_shared(make_node, disk):
    node = make_node(disk.data, "always", disk.environment()).ready()
    node.call("SET", "old", "1")
    disk.says("fdatasync delay 1000")
    syncs = int(node.info("persistence")["aof_fsyncs"])
    taken, failures = [], []

    def write(number):
        try:
            with node.client(timeout=30) as client:
                started = time.monotonic()
                assert client.call("SET", "key:%d" % number, "1") == b"OK"
                taken.append(time.monotonic() - started)
        except Exception as error:  # Told by the main thread.
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(40)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    with node.client() as reader:
        asked = time.monotonic()
        assert reader.call("GET", "old") == b"1"
        assert time.monotonic() - asked < 0.9, "other sessions are not held up"
    for thread in threads:
        thread.join(30)
    everything = time.monotonic() - started
    assert not failures, failures
    assert len(taken) == 40
    assert min(taken) >= 1.0, "a reply came before a sync could have ended"
    # A sync that runs, and the one that all the others share, on each shard; a machine on which clients come late adds
    # some.
    assert int(node.info("persistence")["aof_fsyncs"]) - syncs <= 40 / 2
    assert everything < 40 * 1.0 / 2


def test_L06_a_reader_is_not_shown_what_may_yet_be_lost(make_node, disk):
    node = make_node(disk.data, "always", disk.environment()).ready()
    node.call("SET", "key", "old")
    disk.says("fdatasync delay 1000")
    with node.client(timeout=30) as writer, node.client(timeout=30) as reader:
        started = time.monotonic()
        writer.send("SET", "key", "new")
        # Until the write has been executed the old value is the right answer.
        while True:
            asked = time.monotonic()
            found = reader.call("GET", "key")
            answered = time.monotonic()
            if found == b"new":
                break
            assert found == b"old" and answered - started < 10
        assert answered - started >= 1.0, "the new value was shown before its sync could have ended"
        if asked - started < 0.5:  # else it came late
            assert answered - asked > 0.5, "the read that saw it waited"
        assert writer.reply() == b"OK"


def test_a_slow_disk_pushes_writers_back_and_lets_readers_go_on(make_node, disk):
    node = make_node(disk.data, "everysec", disk.environment()).ready()
    ledger, source = Ledger(), keys()
    with node.client(timeout=60) as client, node.client(timeout=60) as reader:
        assert ledger.write(client, "before", "1") == b"OK"
        disk.says("fdatasync delay 3500")
        slowest, slowest_read, deadline = 0.0, 0.0, time.monotonic() + 30
        while slowest < 1.0 and time.monotonic() < deadline:
            started = time.monotonic()
            assert ledger.write(client, next(source), "1") == b"OK"
            slowest = max(slowest, time.monotonic() - started)
            started = time.monotonic()
            assert reader.call("GET", "before") == b"1"
            slowest_read = max(slowest_read, time.monotonic() - started)
        assert slowest >= 1.0, "a sync took more than three seconds and nobody was pushed back"
        assert slowest_read < 1.0
        assert int(node.info("persistence")["aof_delayed_fsync"]) > 0
        disk.says()
        await_written(node)
    node.kill()
    node.environment.clear()
    node.ready()
    ledger.check(node)


def test_reads_go_on_while_a_write_waits_for_a_slow_disk(make_node, disk):
    node = make_node(disk.data, "everysec", disk.environment()).ready()
    with node.client(timeout=60) as client, node.client(timeout=60) as reader:
        assert client.call("SET", "{tag}read", "1") == b"OK"
        disk.says("fdatasync delay 3500")
        pushed_back = threading.Event()

        def write():
            # Writers are pushed back when a sync has taken two seconds; how many writes that is depends on the machine.
            begin = time.monotonic()
            while (started := time.monotonic()) - begin < 30:
                client.call("SET", "{tag}write", "1")
                if time.monotonic() - started > 1:
                    pushed_back.set()
                    return

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        slowest = 0.0
        while not pushed_back.is_set() and thread.is_alive():
            started = time.monotonic()
            assert reader.call("GET", "{tag}read") == b"1"
            slowest = max(slowest, time.monotonic() - started)
        disk.says()
        thread.join(30)
        assert pushed_back.is_set()
        assert slowest < 1.0, "a read of the same shard waited for the disk"


@pytest.mark.parametrize("policy", ("always", "everysec"))
def test_L12_a_rewrite_without_room_leaves_the_old_files(make_node, tmpfs, policy):
    node = make_node(tmpfs, policy, rdbcompression="no").ready()
    ledger = Ledger()
    with node.client(timeout=30) as client:
        # What the rewrite has to write needs more than is left.
        for number in range(4500):
            assert ledger.write(client, "big:%d" % number, VALUE) == b"OK"
        await_written(node)
        space = os.statvfs(tmpfs)
        (tmpfs / "filler").write_bytes(bytes(space.f_bavail * space.f_frsize - (1 << 20)))
        client.call("BGREWRITEAOF")
        assert process.wait_until(lambda: node.info("persistence")["aof_rewrite_in_progress"] == "0", 30)
        state = node.info("persistence")
        assert state["aof_last_bgrewrite_status"] == "err", state
        assert "No space left on device" in node.log_text()
        # What the attempt had written is gone, so there is room for writes again.
        await_writes(client, ledger, keys())
        await_written(node)
        bases = list(tmpfs.glob("appendonlydir/shard-*/base.*"))
        assert not bases, bases
    node.kill()
    node.ready()
    ledger.check(node)
