"""Nodes under test: started on free ports in folders of their own, always ended, never waited for by the clock alone.

SKEIN_NODE names the binary (ops/test sets it). With SKEIN_NODE=/usr/bin/redis-server the same tests run against the
peer that they describe, apart from those that speak of Skein alone: that is how the tests themselves are checked.
"""

import contextlib
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ops" / "lib"))

import ports  # noqa: E402
import process  # noqa: E402
import redis_server  # noqa: E402
import resp  # noqa: E402

BINARY = os.environ.get("SKEIN_NODE") or str(ROOT / "bazel-bin" / "node" / "skein-node")
IS_SKEIN = "redis-server" not in os.path.basename(BINARY) and "redis-check" not in os.path.basename(BINARY)
SLOTS = 16384
START_TIMEOUT = 30
NODE_TIMEOUT_MS = 2000



def use_ports(mine, workers):
    """Test processes that run side by side have ports of their own."""
    global _PORTS, _FIRST_PORT, _next_port
    _PORTS = 9000 // workers
    _FIRST_PORT = 11000 + _PORTS * mine
    _next_port = random.randrange(_FIRST_PORT, _FIRST_PORT + _PORTS)


use_ports(int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def free_port():
    """A port that is free, with the bus port 10000 above it; both lie below the range of outgoing connections."""
    global _next_port
    for _ in range(_PORTS):
        _next_port = _FIRST_PORT + (_next_port - _FIRST_PORT + 1) % _PORTS
        if ports.is_free(_next_port) and ports.is_free(_next_port + 10000):
            return _next_port
    raise RuntimeError("no free port")


def allow_many_files(wanted=25000):
    """Raises this process's limit on open files as far as it may; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
    return max(soft, limit)


class Node:
    """One node: a folder, a port, directives. start() returns when it answers."""

    def __init__(self, folder, port=None, **directives):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.directives = {"bind": "127.0.0.1", "port": self.port, "dir": str(self.folder), "cluster_enabled": "yes",
                           "cluster_node_timeout": NODE_TIMEOUT_MS}
        self.directives["save"] = ""  # what a test does not ask for is not in its way
        self.directives.update(directives)
        if not IS_SKEIN:
            for name in ("client_loops", "storage_shards", "cluster_bootstrap"):
                self.directives.pop(name, None)
        self.wants_all_slots = not IS_SKEIN and directives.get("cluster_bootstrap") == "yes"
        self.process = None

    def command(self):
        words = [BINARY]
        for name, value in self.directives.items():
            words.append("--" + name.replace("_", "-"))
            words += [str(word) for word in value] if isinstance(value, (list, tuple)) else [str(value)]
        return words

    @property
    def log(self):
        return self.folder / "node.log"

    def log_text(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def launch(self):
        """Starts the process without waiting for it to serve."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT)
        return self

    def start(self):
        return self.launch().await_start()

    def await_start(self):
        """Until what was launched answers."""
        def serves():
            if self.process.poll() is not None:
                raise AssertionError("node %d ended with exit code %d:\n%s"
                                     % (self.port, self.process.returncode, self.log_text()[-3000:]))
            try:
                with self.client() as client:
                    return client.call("PING") == b"PONG"
            except (OSError, resp.Error):
                return False

        assert process.wait_until(serves, START_TIMEOUT), "node %d does not answer:\n%s" % (self.port,
                                                                                           self.log_text()[-3000:])
        if self.wants_all_slots:
            with self.client() as client:
                if self.cluster_info()["cluster_slots_assigned"] == "0":
                    client.call("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            self.await_state("ok")
        return self

    def client(self, timeout=10):
        return resp.Client(self.port, timeout=timeout)

    def call(self, *words):
        with self.client() as client:
            return client.call(*words)

    def info(self, section="everything"):
        return resp.fields(self.call("INFO", section))

    def cluster_info(self):
        return resp.fields(self.call("CLUSTER", "INFO"))

    def node_id(self):
        return self.call("CLUSTER", "MYID").decode()

    def await_state(self, state, timeout=20):
        def reached():
            with contextlib.suppress(OSError, resp.Error):
                return self.cluster_info()["cluster_state"] == state
            return False

        assert process.wait_until(reached, timeout), "node %d: cluster_state is not %s:\n%s" % (
            self.port, state, self.cluster_info())

    def memory(self):
        """Resident bytes of the process."""
        with open("/proc/%d/statm" % self.process.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def terminate(self, timeout=30):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def wait(self, timeout=30):
        return self.process.wait(timeout)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def clean_up(self):
        if self.is_running():
            self.kill()


def spread(count):
    """The (first, last) slots of each of `count` nodes, as form() gives them out."""
    bounds = [SLOTS * index // count for index in range(count + 1)]
    return [(bounds[index], bounds[index + 1] - 1) for index in range(count)]


def owner(nodes, key):
    """The node of a freshly formed cluster that owns a key."""
    slot = key_slot(key)
    return next(node for node, (first, last) in zip(nodes, spread(len(nodes))) if first <= slot <= last)


def form(nodes):
    """Slots spread evenly, nodes met; returns when every node says that the cluster is well."""
    for index, (node, (first, last)) in enumerate(zip(nodes, spread(len(nodes)))):
        node.call("CLUSTER", "ADDSLOTSRANGE", first, last)
        node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
    for node in nodes[1:]:
        nodes[0].call("CLUSTER", "MEET", "127.0.0.1", node.port)
    await_whole(nodes)


def meet(newcomer, node):
    """A node without slots becomes one more of a cluster that is well."""
    known = str(int(node.cluster_info()["cluster_known_nodes"]) + 1)
    newcomer.call("CLUSTER", "MEET", "127.0.0.1", node.port)
    assert process.wait_until(lambda: newcomer.cluster_info()["cluster_known_nodes"] == known and
                              newcomer.cluster_info()["cluster_state"] == "ok", 30), newcomer.log_text()[-2000:]


def await_whole(nodes, timeout=30):
    """Every node knows every other, and all see the same owners."""
    def whole():
        views = set()
        for node in nodes:
            state = node.cluster_info()
            if state["cluster_state"] != "ok" or int(state["cluster_known_nodes"]) != len(nodes):
                return False
            views.add(tuple(sorted(slots_by_node(node).items())))
        return len(views) == 1

    def whole_or_not_yet():
        with contextlib.suppress(OSError, resp.Error):
            return whole()
        return False

    assert process.wait_until(whole_or_not_yet, timeout), "the nodes do not agree:\n" + "\n".join(
        node.call("CLUSTER", "NODES").decode() for node in nodes)


def await_voters(nodes, later_ms=500):
    """Until every node has heard every other a while after now. Who has just joined decides alone about itself, and if it
    dies before the others are known to confirm it, nobody can declare it failed."""
    since = time.time() * 1000 + later_ms

    def heard():
        return all(int(line.split()[5]) >= since for node in nodes
                   for line in node.call("CLUSTER", "NODES").decode().splitlines() if "myself" not in line)

    assert process.wait_until(heard, 30), "the nodes do not hear each other"


def slots_by_node(node):
    """{node id: slot words} by CLUSTER NODES."""
    owned = {}
    for line in node.call("CLUSTER", "NODES").decode().splitlines():
        words = line.split()
        owned[words[0]] = " ".join(word for word in words[8:] if not word.startswith("["))
    return owned


def run(words, timeout=60, check=True, **options):
    """Runs a program to its end; returns the completed process with text output (standard error joined in)."""
    done = subprocess.run([str(word) for word in words], stdin=options.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
                          **options)
    if check:
        assert done.returncode == 0, "%s ended with exit code %d:\n%s" % (" ".join(map(str, words)), done.returncode,
                                                                          done.stdout[-4000:])
    return done


def messages(text):
    """What a log says, without the times and places at the head of its lines."""
    return [re.sub(r"^([IWEF]\d{8} [^\]]*\] |skein-node: )", "", line).strip() for line in text.splitlines()
            if line.strip()]


def key_slot(key):
    """The hash slot of a key: CRC16 (XMODEM) of its hash tag, modulo 16384."""
    if isinstance(key, str):
        key = key.encode()
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1:end]
    crc = 0
    for byte in key:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc % SLOTS


def within(seconds):
    """A deadline: left() says what is left of it."""
    end = time.monotonic() + seconds
    return lambda: max(0.0, end - time.monotonic())
