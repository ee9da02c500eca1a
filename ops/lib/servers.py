"""Servers to measure: Skein and redis-server, pinned, each as a cluster node that owns all slots."""

import os
import pathlib
import random
import shutil
import subprocess

import bazel
import ports
import process
import resp

SLOTS = 16384


def built_node():
    """The node's binary: SKEIN_NODE as it is, or built now."""
    if os.environ.get("SKEIN_NODE"):
        return os.environ["SKEIN_NODE"]
    if bazel.build("-c", "opt", "//node:skein-node") != 0:
        raise RuntimeError("the build failed")
    return str(pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "node" / "skein-node")


def redis_program():
    """What to run for redis-server. Debian's redis-tools holds the program under another name that it heeds."""
    for name in ("redis-server", "redis-check-rdb"):
        path = shutil.which(name)
        if path:
            return path
    raise RuntimeError("there is no redis-server here; ops/install brings it")


def free_port():
    for _ in range(1000):
        port = random.randrange(11000, 20000)
        if ports.is_free(port) and ports.is_free(port + 10000):
            return port
    raise RuntimeError("no free port")


class Server:
    """One server. `name` is what a table calls it; `directives` are as in a configuration file."""

    def __init__(self, name, folder, core, directives, redis=False):
        self.name, self.folder, self.core, self.redis = name, pathlib.Path(folder), core, redis
        self.port = free_port()
        self.directives = {"bind": "127.0.0.1", "port": self.port, "dir": str(self.folder), "cluster-enabled": "yes",
                           "appendonly": "no", "protected-mode": "no", "save": "", **directives}
        if not redis:
            self.directives["cluster-bootstrap"] = "yes"
        self.process = None

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        program = redis_program() if self.redis else built_node()
        words = ["redis-server" if self.redis else program]
        for name, value in self.directives.items():
            words += ["--" + name, str(value)]
        log = open(self.folder / "server.log", "ab")
        core = self.core
        self.process = subprocess.Popen(words, executable=program, cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=subprocess.STDOUT,
                                        preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        log.close()
        if not process.wait_until(self._serves, 60):
            log = (self.folder / "server.log").read_text(errors="replace")[-2000:]
            self.__exit__()
            raise RuntimeError("%s does not serve:\n%s" % (self.name, log))
        return self

    def _serves(self):
        if self.process.poll() is not None:
            raise RuntimeError("%s ended at its start:\n%s"
                               % (self.name, (self.folder / "server.log").read_text(errors="replace")[-2000:]))
        try:
            with resp.Client(self.port) as client:
                state = resp.fields(client.call("CLUSTER", "INFO"))
                if state["cluster_slots_assigned"] == "0":
                    client.call("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
                return state["cluster_state"] == "ok"
        except (OSError, resp.Error):
            return False

    def __exit__(self, *unused):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self):
        """Seconds of CPU that all its threads have used, to the nanosecond."""
        total = 0
        for task in os.listdir("/proc/%d/task" % self.process.pid):
            try:
                with open("/proc/%d/task/%s/schedstat" % (self.process.pid, task), encoding="ascii") as file:
                    total += int(file.read().split()[0])
            except FileNotFoundError:
                continue
        return total / 1e9

    def resident(self):
        with open("/proc/%d/statm" % self.process.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def used_memory(self):
        with resp.Client(self.port) as client:
            return int(resp.fields(client.call("INFO", "memory"))["used_memory"])

    def fill(self, first, last):
        """Writes keys `key:NNNNNNNNNNNN` (16 bytes) with values of 16 bytes, for numbers first to last-1."""
        batch = 5000
        form = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$16\r\nvalue:%010d\r\n"
        with resp.Client(self.port, timeout=60) as client:
            for start in range(first, last, batch):
                end = min(start + batch, last)
                client.send_raw(b"".join([form % (number, number) for number in range(start, end)]))
                left = 5 * (end - start)
                while left:
                    data = client.socket.recv(min(left, 1 << 16))
                    if not data or data.count(b"-"):
                        raise RuntimeError("%s refused a write: %r" % (self.name, data[:200]))
                    left -= len(data)
