"""A fleet: many real nodes, each with an address of its own."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ops" / "lib"))

import process  # noqa: E402
import resp  # noqa: E402

SLOTS = 16384
PORT = 7000
SEED_NAME = "skein-seeds"


class Unexpected(AssertionError):
    """What should have come to be did not."""


class Node:
    def __init__(self, fleet, index):
        self.fleet = fleet
        self.index = index
        self.folder = fleet.folder / ("node-%d" % index)
        self.folder.mkdir()
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n", encoding="ascii")
        self.process = None
        self.environment = {}  # beside the test's own
        self.id = None
        self.trust = fleet.site.directives(index) if fleet.site else {}
        self.certificate_lock = threading.Lock()
        self.starting = False  # it may be reading its files, which nobody changes meanwhile
        fleet.net.add(index)
        self.address = fleet.net.new_address(index)

    def start(self):
        directives = dict(self.fleet.directives, bind=self.address, port=PORT, dir=self.folder, **self.trust,
                          **self.fleet.net.directives(self.index))
        words = [*self.fleet.net.wrap(self.index, self.hosts), self.fleet.binary]
        for name, value in directives.items():
            words += ["--" + name, str(value)]
        with self.certificate_lock:
            self.starting = True
        with open(self.folder / "node.log", "ab") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env={**os.environ, **self.environment})
        return self

    def renew_certificate(self):
        """New files, which the node is told to read; False if it does not run at this moment."""
        with self.certificate_lock:
            if self.starting or not self.running():
                return False
            self.fleet.site.issue(self.index)
            try:
                self.call("CONFIG", "SET", "tls-cert-file", self.trust["tls-cert-file"])
                return True
            except OSError:
                return False

    def await_start(self):
        def serves():
            if self.process.poll() is not None:
                raise Unexpected("node %d ended with exit code %d:\n%s" % (self.index, self.process.returncode,
                                                                          self.log_text()[-2000:]))
            with contextlib.suppress(OSError, resp.Error):
                return self.call("PING") == b"PONG"
            return False
        if not process.wait_until(serves, 60):
            raise Unexpected("node %d does not answer:\n%s" % (self.index, self.log_text()[-2000:]))
        self.id = self.call("CLUSTER", "MYID").decode()
        self.fleet.net.name(self.index, self.id)
        self.starting = False
        return self

    def log_text(self):
        return (self.folder / "node.log").read_text(encoding="utf-8", errors="replace")

    def client(self, timeout=10):
        return resp.Client(PORT, host=self.address, timeout=timeout)

    def call(self, *words):
        with self.client() as client:
            return client.call(*words)

    def cluster_info(self):
        return resp.fields(self.call("CLUSTER", "INFO"))

    def view(self):
        """{id: (address, flags, slots)} as this node sees it."""
        nodes = {}
        for line in self.call("CLUSTER", "NODES").decode().splitlines():
            words = line.split(" ")
            nodes[words[0]] = (words[1].split(":")[0], frozenset(words[2].split(",")) - {"myself"},
                               tuple(words[8:]), words[7])
        return nodes

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if code != 0:
            raise Unexpected("node %d stopped with exit code %d:\n%s" % (self.index, code, self.log_text()[-2000:]))

    def running(self):
        return self.process is not None and self.process.poll() is None

    def resident(self):
        with open("/proc/%d/statm" % self.process.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid, "rb") as file:
            words = file.read().rsplit(b")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Fleet:
    """`directives`: of every node, beside what its place asks for."""

    def __init__(self, folder, net, binary, count, timeout_ms=2000, seed=1, site=None, **directives):
        self.folder = pathlib.Path(folder)
        self.net = net
        self.site = site  # with it, the bus speaks TLS
        self.links_churn = False  # among so many that are made anew, one or the other is always on its way
        self.binary = str(binary)
        self.random = random.Random(seed)
        self.timeout_ms = timeout_ms
        self.directives = {"cluster-node-timeout": timeout_ms, "protected-mode": "no", "client-loops": 1,
                           "storage-shards": 1, "save": "", "appendonly": "no",
                           **{name.replace("_", "-"): value for name, value in directives.items()}}
        self.nodes = [Node(self, index) for index in range(count)]

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.await_start()

    def write_hosts(self):
        """The name of the seeds leads to every node, as that of a headless Service does."""
        lines = ["127.0.0.1 localhost"] + ["%s %s" % (node.address, SEED_NAME) for node in self.nodes]
        for node in self.nodes:
            # In place: the nodes have the file itself mounted.
            with open(node.hosts, "r+", encoding="ascii") as file:
                file.seek(0)
                file.truncate()
                file.write("\n".join(lines) + "\n")

    def form(self):
        """Slots, then MEET through the first node; how long until all agree, in seconds."""
        count = len(self.nodes)
        bounds = [SLOTS * index // count for index in range(count + 1)]
        for index, node in enumerate(self.nodes):
            node.call("CLUSTER", "ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
            # Refused to one that the seeds have led to others already; then epochs that collide are told apart later.
            with contextlib.suppress(resp.Error):
                node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        began = time.monotonic()
        for node in self.nodes[1:]:
            self.nodes[0].call("CLUSTER", "MEET", node.address, PORT)
        self.await_whole()
        return time.monotonic() - began

    def why_not_whole(self):
        """What keeps the running nodes from agreeing that every node is there and well, or ""."""
        expected = {node.id: node.address for node in self.nodes}
        slots = None
        for node in self.nodes:
            try:
                view, info = node.view(), node.cluster_info()
            except (OSError, resp.Error) as error:
                return "node %d: %s" % (node.index, error)
            if info["cluster_state"] != "ok":
                return "node %d: cluster_state is %s" % (node.index, info["cluster_state"])
            if set(view) != set(expected):
                return "node %d knows %d nodes" % (node.index, len(view))
            for name, (address, flags, _, link) in view.items():
                connected = link == "connected" or self.links_churn
                if address != expected[name] or flags != {"master"} or not connected:
                    return "node %d sees %s at %s as %s, %s" % (node.index, name[:8], address, ",".join(flags), link)
            mine = {name: row[2] for name, row in view.items()}
            if slots is not None and mine != slots:
                return "node %d sees other owners of slots" % node.index
            slots = mine
        return ""

    def await_whole(self, seconds=60):
        began = time.monotonic()
        if not process.wait_until(lambda: not self.why_not_whole(), seconds):
            raise Unexpected(self.why_not_whole() or "it took too long")
        return time.monotonic() - began

    def links(self):
        """(links that CLUSTER LINKS shows, descriptors, resident bytes) of each node."""
        return [(len(node.call("CLUSTER", "LINKS")), node.descriptors(), node.resident()) for node in self.nodes]

    def close(self):
        for node in self.nodes:
            if node.running():
                node.kill()
        self.net.close()
