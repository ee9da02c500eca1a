"""ops/up --demo: a primary is killed under load; shows second by second what the clients saw, and counts what was lost."""

import collections
import dataclasses
import logging
import random
import signal
import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

import cluster
import picture
import process
import terminal

WRITERS = 4
CALM = 4  # seconds before the kill, and after everything is served again
PATIENCE = 60  # seconds until a replica must have taken over
PREFIX = "skein-demo:"
KEPT_SECONDS = 600


@dataclasses.dataclass
class Second:
    writes: int = 0
    errors: int = 0
    slowest: float = 0.0
    words: set = dataclasses.field(default_factory=set)


class Load:
    """Clients that write one key after the other, each waiting for its answer, as long as they are let."""

    def __init__(self, plan):
        self.plan = plan
        self.begun = time.monotonic()
        self.seconds = collections.defaultdict(Second)
        self.acknowledged = [{} for _ in range(WRITERS)]
        self.last_error = self.begun
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(index,), daemon=True) for index in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _client(self):
        return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in self.plan.ports],
                            socket_timeout=2, socket_connect_timeout=2)

    def _write(self, index):
        client, number = None, 0
        chance = random.Random(index)
        while not self._stop.is_set():
            before = time.monotonic()
            key, value = "%s%d:%d" % (PREFIX, index, chance.randrange(1 << 30)), "value-%d" % number
            number += 1
            error = None
            try:
                client = client or self._client()
                client.set(key, value, ex=KEPT_SECONDS)
                self.acknowledged[index][key] = value
            except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as problem:
                error = "%s" % problem
                client = None
                self._stop.wait(0.05)
            after = time.monotonic()
            with self._lock:
                second = self.seconds[int(after - self.begun)]
                second.slowest = max(second.slowest, after - before)
                if error is None:
                    second.writes += 1
                else:
                    second.errors += 1
                    second.words.add(error.split("\n")[0][:60])
                    self.last_error = after

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def missing(self):
        """How many acknowledged writes cannot be read, and how many there were."""
        client = self._client()
        missing = total = 0
        for kept in self.acknowledged:
            for key, value in kept.items():
                total += 1
                missing += client.get(key) != value.encode()
        client.disconnect_connection_pools()
        return missing, total


def _print_seconds(load, printed, until, note):
    while printed < until:
        with load._lock:  # pylint: disable=protected-access
            second = load.seconds[printed]
            words = "; ".join(sorted(second.words))
        terminal.say("  %4d s  %8s written  %5s failed  slowest %6.0f ms  %s%s" % (
            printed, terminal.count(second.writes), terminal.count(second.errors), second.slowest * 1000,
            note.pop(printed, ""), words))
        printed += 1
    return printed


def _taken_over(plan, victim, slots):
    """The port of the node that now serves what the victim served."""
    for port in plan.ports:
        if port != victim:
            view = picture.look(port)
            if view.state == "up" and view.role == "primary" and slots and set(slots) & set(view.slots):
                return port
    return None


def run(plan):
    """Kills the primary of the first group, waits for its replica, restarts it. True if all went well."""
    views = [picture.look(port) for port in plan.ports]
    victim = next((view for view in views if view.role == "primary" and
                   any(other.primary_id == view.node_id and other.following for other in views)), None)
    if victim is None:
        raise cluster.Problem("no primary has a replica that follows it; start with ops/up --replicas 1")
    terminal.say("  %d clients write, each one key at a time (python3-redis RedisCluster); then the primary at port %d "
                 "is killed (SIGKILL)" % (WRITERS, victim.port))
    # python3-redis tells of each node that it cannot reach, and trips over those when it drops them.
    logging.getLogger("redis").setLevel(logging.CRITICAL)
    logging.getLogger("redis.cluster").setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None
    load = Load(plan)
    printed, note = 0, {}
    killed = heir = taken = None
    end = load.begun + CALM + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.1)
        now = time.monotonic()
        if killed is None and now >= load.begun + CALM:
            with process.Handle(process.read_pid_file(cluster.pid_file(victim.port))) as handle:
                handle.signal(signal.SIGKILL)
            killed = now
            note[int(now - load.begun)] = "killed. "
        if killed is not None and heir is None:
            heir = _taken_over(plan, victim.port, victim.slots)
            if heir is not None:
                taken = time.monotonic()
                note[int(taken - load.begun)] = "%d has taken over. " % heir
                end = taken + CALM
        printed = _print_seconds(load, printed, int(now - load.begun), note)
    load.end()
    terminal.say()
    if heir is None:
        terminal.say("  no replica has taken over within %d s" % PATIENCE)
        return False
    terminal.say("  %d took over %.1f s after the kill; the last failed write came %.1f s after it"
                 % (heir, taken - killed, max(0.0, load.last_error - killed)))
    missing, total = load.missing()
    terminal.say("  %s writes were acknowledged; %s of them cannot be read%s" % (
        terminal.count(total), terminal.count(missing),
        ": no replica had them yet" if missing else ""))
    with terminal.Step("starting the killed node again, as a replica"):
        cluster.start_node(plan, victim.port)
        cluster.await_ok(plan)
        cluster.await_replicas(plan)
    return True
