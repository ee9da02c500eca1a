"""Kills ops/aof at the named places of what it changes, and at random instants; what a node then finds is all there.

The data set that it works on is what a killed node has left: three shards with bases and records behind them. Right
after the kill every file of it must still be somewhere, byte for byte, unless changing it is what was asked for.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import cells
import harness
from cells import Failure, Node, contents
from model import now_ms

SHARDS, NEW_SHARDS = 3, 2
KEYS = 2000
RANDOM = "random"  # in place of a kill point: at any instant
RANDOM_KILLS = 3  # in one round


def node_on(folder, data, **more):
    # A data set has the number of shards that it has.
    directives = {"cluster_bootstrap": "yes", "appendonly": "yes", "appendfsync": "always", "save": "",
                  "client_loops": 2, "auto_aof_rewrite_percentage": "0"}
    return Node(folder, dir=data, **dict(directives, **more))


class Source:
    """Made once for all rounds. `wanted`: what it holds; `earlier`: what it held at the LSNs `earlier_lsns`."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-crash-source-"))
        self.data = self.folder / "data"
        self.data.mkdir()
        node = node_on(self.folder / "node", self.data, storage_shards=SHARDS)
        try:
            self._fill(node)
        finally:
            node.clean_up()
        self.seconds = {}  # by command: how long it takes

    def _fill(self, node):
        node.ready()
        later = int(now_ms()) + 10 ** 9
        with node.client(timeout=60) as client:
            client.pipeline([("SET", "key:%d" % number, "value %d" % number, *(("PXAT", later) if number % 3 == 0 else ()))
                             for number in range(KEYS)])
            client.call("BGREWRITEAOF")
            if not harness.process.wait_until(
                    lambda: node.info("persistence")["aof_rewrite_in_progress"] == "0", 20):
                raise Failure("the rewrite does not end")
            client.pipeline([("APPEND", "key:%d" % number, "+") for number in range(0, KEYS, 7)])
            state = node.info("persistence")
            self.earlier_lsns = [dict(part.split("=") for part in state["aof_shard%d" % shard].split(","))["end"]
                                 for shard in range(SHARDS)]
            self.earlier = contents(node)[0]
            client.pipeline([("DEL", "key:%d" % number) for number in range(0, KEYS, 11)])
            client.pipeline([("SET", "later:%d" % number, "x" * 100) for number in range(200)])
            self.wanted = contents(node)[0]
        node.kill()


_source = None


def source():
    global _source
    if _source is None:
        _source = Source()
    return _source


def forget_source():
    if _source is not None:
        shutil.rmtree(_source.folder, ignore_errors=True)


def digests(folder):
    return {hashlib.sha256(path.read_bytes()).digest(): path
            for path in pathlib.Path(folder).rglob("*") if path.is_file() and not path.name.endswith(".lock")}


def newest_incr(data, shard):
    return max((data / "appendonlydir" / ("shard-%d" % shard)).glob("incr.*"),
               key=lambda path: int(path.name.split(".")[1]))


class Round:
    """One kill of one command on a copy of the source."""

    changes_originals = False

    def __init__(self, folder, tool):
        self.tool = str(tool)
        self.data, self.target = folder / "data", folder / "target"
        shutil.copytree(source().data, self.data)
        self.target.mkdir()
        self.prepare()
        self.before = digests(self.data)

    def prepare(self):
        """What the command needs beside the data set."""

    def words(self):
        raise NotImplementedError

    def finished(self):
        """Whether what the kill has left needs no second run."""
        raise NotImplementedError

    def node(self, folder):
        """A node on what it should have made."""
        return node_on(folder, self.target)

    wanted = property(lambda self: source().wanted)

    def run(self, kill_at=None, after=None):
        """The exit code of one run, which ends itself at `kill_at` or is killed `after` seconds."""
        environment = dict(os.environ, **({"SKEIN_KILL_AT": kill_at} if kill_at else {}))
        process = subprocess.Popen([self.tool, *map(str, self.words())], env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            if after is not None:
                time.sleep(after)  # The instant is random: there is no event to wait for.
                process.kill()
            self.said, _ = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode

    def check_originals(self):
        lost = [str(path) for digest, path in self.before.items() if digest not in digests(self.data)]
        if lost and not self.changes_originals:
            raise Failure("lost: %s" % ", ".join(lost))

    def check(self, chance, folder):
        """After the kill: again, unless the node can begin; then the node finds all."""
        self.check_originals()
        if not self.finished() or chance.random() < 0.3:
            code = self.run()
            if code not in ((0, 2) if self.finished() else (0,)):
                raise Failure("run again it ends with exit code %d: %s" % (code, self.said))
        self.check_originals()
        node = self.node(folder / "node")
        try:
            for _ in range(2):
                node.ready()
                found = contents(node)[0]
                if found != self.wanted:
                    different = [key for key in found.keys() | self.wanted.keys()
                                 if found.get(key) != self.wanted.get(key)]
                    raise Failure("%d keys are lost, wrong or strange, such as %r" % (len(different), different[:3]))
                node.kill()
        finally:
            node.clean_up()


class Reshard(Round):
    def words(self):
        return ["reshard", self.data, "--to", NEW_SHARDS]

    def finished(self):
        # Before the first move it is the old data set, from it on whoever opens the folder finishes the change.
        return True

    def node(self, folder):
        return node_on(folder, self.data)


class Restore(Round):
    wanted = property(lambda self: source().earlier)

    def words(self):
        lsns = [word for shard, lsn in enumerate(source().earlier_lsns) for word in ("--to-lsn", "%d:%s" % (shard, lsn))]
        return ["restore", self.data, *lsns, "--into", self.target]

    def finished(self):
        return (self.target / "appendonlydir").exists()


class Export(Round):
    def words(self):
        return ["export", self.data, "--rdb", self.target / "dump.rdb"]

    def finished(self):
        return (self.target / "dump.rdb").exists()

    def node(self, folder):
        return node_on(folder, self.target, appendonly="no", storage_shards=NEW_SHARDS)


class RepairTail(Round):
    changes_originals = True

    def prepare(self):
        for shard in range(2):
            with open(newest_incr(self.data, shard), "ab") as file:
                file.write(b"\x01" * 57)

    def words(self):
        return ["repair", self.data, "--yes"]

    def finished(self):
        return True  # A start cuts what is left.

    def node(self, folder):
        return node_on(folder, self.data)


class RepairManifest(RepairTail):
    changes_originals = False

    def prepare(self):
        manifest = self.data / "appendonlydir" / "manifest"
        damaged = bytearray(manifest.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        manifest.write_bytes(damaged)

    def words(self):
        return ["repair", self.data, "--rebuild-manifest", "--yes"]

    def finished(self):
        return subprocess.run([self.tool, "verify", str(self.data)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


COMMANDS = {"reshard": Reshard, "restore": Restore, "export": Export, "repair-tail": RepairTail,
            "repair-manifest": RepairManifest}
# By command, which places it comes to, and how often.
PLACES = {
    "reshard": {"layout.": 1, "flip.": 1, "replace.": 2},
    "restore": {"restore.": 1, "flip.new-synced": 1, "flip.renamed": 1, "flip.synced": 1, "replace.": 2},
    "export": {"export.": 1},
    "repair-tail": {"repair.tail-": 2},
    "repair-manifest": {"repair.damaged-kept": 1, "repair.manifest-made": 1, "replace.": 2},
}


def times(command, point):
    """How often the command comes to the point: 0 if it does not."""
    return next((count for prefix, count in PLACES[command].items() if point.startswith(prefix)), 0)


def visit(command, point, chance, folder, tool, counts):
    for number in range(RANDOM_KILLS if point == RANDOM else 1):
        mine = folder / str(number)
        mine.mkdir(parents=True)
        round_ = COMMANDS[command](mine, tool)
        if point == RANDOM:
            if command not in source().seconds:
                (mine / "timed").mkdir()
                timed = COMMANDS[command](mine / "timed", tool)
                started = time.monotonic()
                if timed.run() != 0:
                    raise Failure("it fails by itself: %s" % timed.said)
                source().seconds[command] = time.monotonic() - started
            code = round_.run(after=chance.uniform(0, 1.1 * source().seconds[command]))
            expected = (0, -signal.SIGKILL)
        else:
            code = round_.run(kill_at="%s:%d" % (point, chance.randrange(1, times(command, point) + 1)))
            expected = (-signal.SIGKILL,)
        if code not in expected:
            raise Failure("it ended with exit code %d, not by the kill: %s" % (code, round_.said))
        counts.rounds += 1
        counts.acknowledged += len(round_.wanted)
        round_.check(chance, mine)
