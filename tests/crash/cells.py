"""The matrix: what a node is like in a cell, and one round in it: load, SIGKILL, start, compare."""

import dataclasses
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ops" / "lib"))
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import harness  # noqa: E402
import judge  # noqa: E402
import clients  # noqa: E402
import resp  # noqa: E402
from model import now_ms  # noqa: E402

CLIENTS = 4
# A folder is left for a new one after so many rounds: a log that nothing rewrites only grows.
LIVES = 6


@dataclasses.dataclass(frozen=True)
class Cell:
    shards: int
    policy: str
    rewrite: bool
    loops: int

    @property
    def name(self):
        return "%d-%s-%s-%d" % (self.shards, self.policy, "rewrite" if self.rewrite else "calm", self.loops)

    def directives(self):
        # What grows is rewritten when a round asks for it, at no other time.
        return {"cluster_bootstrap": "yes", "appendonly": "yes", "appendfsync": self.policy, "save": "",
                "client_loops": self.loops, "storage_shards": self.shards, "auto_aof_rewrite_percentage": "0"}


def matrix():
    return [Cell(shards, policy, rewrite, loops) for shards in (1, 2, 4, 8) for policy in ("always", "everysec", "no")
            for rewrite in (False, True) for loops in (1, 2)]


class Failure(Exception):
    """A round that must not have ended as it did; the text is for a person."""


class Node(harness.Node):
    """A node with an environment of its own."""

    def __init__(self, folder, **directives):
        super().__init__(folder, **directives)
        self.environment = {}

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env=dict(os.environ, **self.environment))
        return self

    def ready(self):
        """Started, and all slots served."""
        self.start()
        self.await_state("ok")
        return self


def contents(node):
    """({key: (value, PEXPIRETIME)}, when this was asked in milliseconds since 1970)."""
    found = {}
    with node.client(timeout=60) as client:
        checked_at = now_ms()
        keys, cursor = set(), b"0"
        while True:
            cursor, part = client.call("SCAN", cursor, "COUNT", 1000)
            keys.update(part)
            if cursor == b"0":
                break
        keys = sorted(keys)
        for at in range(0, len(keys), 500):
            part = keys[at:at + 500]
            replies = client.pipeline([command for key in part for command in ((b"PEXPIRETIME", key), (b"GET", key))])
            for index, key in enumerate(part):
                expires, value = replies[2 * index:2 * index + 2]
                if value is not None and expires != -2:  # Else its life ended between the questions.
                    found[key] = (value, expires)
    return found, checked_at


class Run:
    """One cell's node and clients over its rounds."""

    saves = b"BGREWRITEAOF"  # what runs beside the load where something does

    def __init__(self, cell, folder, seed, **directives):
        self.cell, self.folder = cell, pathlib.Path(folder)
        self.chance = random.Random("%s %s" % (cell.name, seed))
        self.directives = dict(cell.directives(), **directives)
        self.node = None
        self.acknowledged = self.missing = self.lost = self.rewrites = self.rounds = 0
        self.refusals = []
        self.start_seconds = 0.1
        self.lives = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.node:
            self.node.clean_up()

    def begin(self):
        """A new folder, with nobody's keys in it."""
        if self.node:
            self.node.clean_up()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.node = Node(self.folder, **self.directives)
        self.states = [clients.ClientState(number, self.cell.shards, harness.key_slot) for number in range(CLIENTS)]
        self.ballast = clients.Ballast(self.cell.shards, harness.key_slot)
        tags = clients.tags_of_shards("shared", self.cell.shards, 1, harness.key_slot)
        self.shared_keys = [b"{%s}" % tags[shard][0] for shard in range(self.cell.shards)]
        self.shared_values = [0] * self.cell.shards
        self.lives = 0
        self.node.ready()

    @property
    def units(self):
        return [unit for client in self.states for unit in client.units] + self.ballast.units

    def round(self, seconds, kill_at=None):
        """Load for about `seconds`, the end, a start, the comparison. With `kill_at` the node was started so that it
        kills itself; else it is killed."""
        if self.node is None or self.lives >= LIVES:
            self.begin()
        self.lives += 1
        gate = clients.Gate()
        chance = self.chance
        writers = [clients.Writer(self.node.port, client, self.shared_keys, gate, chance.random())
                   for client in self.states]
        helpers = []
        try:
            with self.node.client(timeout=60) as client:
                self.ballast.fill(client)
        except OSError:
            if kill_at is None:
                raise
        if chance.random() < 0.15:
            helpers.append(clients.Flusher(self.node.port, self.units, gate, chance.uniform(0, seconds)))
        rewriter = clients.Rewriter(self.node.port, self.saves) if self.cell.rewrite else None
        if rewriter:
            helpers.append(rewriter)
        for thread in writers + helpers:
            thread.start()
        for writer in writers:
            if not writer.started.wait(60):
                raise Failure("a client waits for 60 s")
        if kill_at is None:
            time.sleep(seconds)  # The instant of the kill is random: there is no event to wait for.
            if not self.node.is_running():
                raise Failure("the node ended with exit code %d by itself" % self.node.process.returncode)
            self.node.process.send_signal(signal.SIGKILL)
            ended = time.monotonic()
            self.node.wait(30)
        else:
            self.await_own_end(kill_at, seconds)
            ended = time.monotonic()
        gate.break_open()
        if rewriter:
            rewriter.stopped.set()
        for thread in writers + helpers:
            thread.join(60)
            if thread.is_alive():
                raise Failure("a client of a dead node still waits")
            if getattr(thread, "error", None):
                raise Failure("a client failed: %r" % thread.error)
        if rewriter:
            self.rewrites += rewriter.begun
            self.refusals += rewriter.refusals
        self.keep_a_copy()
        self.start_again()
        self.compare(ended)

    def await_own_end(self, kill_at, seconds):
        try:
            code = self.node.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure("it never came to %s" % kill_at) from None
        if code != -signal.SIGKILL:
            raise Failure("the node ended with exit code %d, not by the kill point %s" % (code, kill_at))

    def keep_a_copy(self):
        """What the crash left, for whoever looks for the cause of a failure: a start changes it."""
        aside = self.folder / "as-the-crash-left-it"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(self.folder, aside, ignore=shutil.ignore_patterns(aside.name, "node.log"))

    def start_again(self):
        """Starts, now and then after being killed once or twice more while it does."""
        self.node.environment.pop("SKEIN_KILL_AT", None)
        for _ in range(self.chance.choice((0, 0, 1, 2))):
            self.node.launch()
            time.sleep(self.chance.uniform(0, 1.2 * self.start_seconds))
            self.node.kill()
        started = time.monotonic()
        try:
            self.node.ready()
        except AssertionError as error:
            raise Failure("it does not start again: %s" % error) from None
        self.start_seconds = 0.5 * (self.start_seconds + time.monotonic() - started)

    def compare(self, ended):
        found, checked_at = contents(self.node)
        shared = {shard: (key, self.shared_values[shard]) for shard, key in enumerate(self.shared_keys)}
        verdict = judge.judge(self.units, shared, found, judge.PROMISES[self.cell.policy], ended, checked_at)
        self.rounds += 1
        self.acknowledged += verdict.acknowledged
        self.missing += verdict.missing
        self.lost += verdict.lost
        if not verdict.ok:
            raise Failure("\n    ".join(verdict.wrong))
        self.shared_values = [int(found[key][0]) if key in found else 0 for key in self.shared_keys]
