"""Servers to measure: Skein and redis-server, pinned, each as a cluster node that owns all slots."""

import os
import pathlib
import random
import shutil
import subprocess
import time

import bazel
import ports
import process
import redis_server
import resp

SLOTS = 16384


def built_node():
    """The node's binary: SKEIN_NODE as it is, or built now."""
    if os.environ.get("SKEIN_NODE"):
        return os.environ["SKEIN_NODE"]
    if bazel.build("-c", "opt", "//node:skein-node") != 0:
        raise RuntimeError("the build failed")
    return str(pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "node" / "skein-node")


def free_port():
    for _ in range(1000):
        port = random.randrange(11000, 20000)
        if ports.is_free(port) and ports.is_free(port + 10000):
            return port
    raise RuntimeError("no free port")


class Server:
    """One server. `name` is what a table calls it; `directives` are as in a configuration file.

    `core`: a core, or several. With `keep` the folder outlives it. `full_at`: it serves when it holds so many keys.
    `empty`: it owns no slots, and serves when it answers.
    """

    def __init__(self, name, folder, core, directives, redis=False, keep=False, full_at=None, empty=False):
        self.name, self.folder, self.redis = name, pathlib.Path(folder), redis
        self.cores = {core} if isinstance(core, int) else set(core)
        self.keep, self.full_at, self.empty = keep, full_at, empty
        self.port = directives.get("port") or free_port()
        self.directives = {"bind": "127.0.0.1", "port": self.port, "dir": str(self.folder), "cluster-enabled": "yes",
                           "appendonly": "no", "protected-mode": "no", "save": "", **directives}
        if not redis and not empty and self.directives["cluster-enabled"] == "yes":
            self.directives["cluster-bootstrap"] = "yes"
        self.process = None

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.redis:
            redis_server.put_on_path()
        words = ["redis-server" if self.redis else built_node()]
        for name, value in self.directives.items():
            words += ["--" + name, str(value)]
        log = open(self.folder / "server.log", "ab")
        cores = self.cores
        self.started = time.monotonic()
        self.process = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=subprocess.STDOUT,
                                        preexec_fn=lambda: os.sched_setaffinity(0, cores))
        log.close()
        if not (self._await_full() if self.full_at else process.wait_until(self._serves, 60)):
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
                if self.empty or self.directives["cluster-enabled"] == "no":
                    return client.call("PING") == b"PONG"
                state = resp.fields(client.call("CLUSTER", "INFO"))
                if state["cluster_slots_assigned"] == "0":
                    client.call("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
                return state["cluster_state"] == "ok"
        except (OSError, resp.Error):
            return False

    def _await_full(self):
        """Asks every millisecond, and sets `ready_after`: seconds from its start to the first PONG."""
        deadline = self.started + 600
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with resp.Client(self.port) as client:
                    if client.call("PING") == b"PONG":
                        self.ready_after = time.monotonic() - self.started
                        held = client.call("DBSIZE")
                        if held != self.full_at:
                            raise RuntimeError("%s came back with %d keys of %d" % (self.name, held, self.full_at))
                        return True
            except (OSError, resp.Error):
                pass
            time.sleep(0.001)
        return False

    def __exit__(self, *unused):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self):
        """Seconds of CPU that all its threads have used, to the nanosecond."""
        return sum(self.cpu_by_thread().values())

    def cpu_by_thread(self):
        """The same by thread name, numbers at its end left out: {"main": 0.1, "loop": 1.5, "log": 0.2}."""
        found = {}
        for task in os.listdir("/proc/%d/task" % self.process.pid):
            path = "/proc/%d/task/%s/" % (self.process.pid, task)
            try:
                with open(path + "schedstat", encoding="ascii") as file:
                    nanos = int(file.read().split()[0])
                with open(path + "comm", encoding="ascii") as file:
                    name = file.read().strip().rstrip("0123456789").rstrip("-")
                if int(task) == self.process.pid:
                    name = "main"
            except FileNotFoundError:
                continue
            found[name] = found.get(name, 0) + nanos / 1e9
        return found

    def resident(self):
        with open("/proc/%d/statm" % self.process.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def used_memory(self):
        with resp.Client(self.port) as client:
            return int(resp.fields(client.call("INFO", "memory"))["used_memory"])

    def call(self, *words, timeout=600):
        with resp.Client(self.port, timeout=timeout) as client:
            return client.call(*words)

    def info(self, section):
        return resp.fields(self.call("INFO", section))

    def fill(self, first, last, size=16):
        """Writes keys `key:NNNNNNNNNNNN` (16 bytes) with values of `size` bytes, for numbers first to last-1."""
        batch = 5000
        form = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%%012d\r\n$%d\r\nvalue:%%0%dd\r\n" % (size, size - 6)
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
