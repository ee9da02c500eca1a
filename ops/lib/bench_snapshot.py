"""ops/bench snapshot: what clients and memory feel while BGSAVE and BGREWRITEAOF run under a load of writes."""

import contextlib
import os
import statistics
import subprocess
import threading
import time

import bench_log
import probe
import terminal

SERVER_CORES, CLIENT_CORE = {0, 1}, 1
CONTROL_CORE = 0
VALUE = 100
BUSY = {"BGSAVE": "rdb_bgsave_in_progress", "BGREWRITEAOF": "aof_rewrite_in_progress"}


def children(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/%d/task" % pid):
            with contextlib.suppress(OSError), open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    return found


def proportional(pid):
    """Pss: its own pages, and its share of those that it shares."""
    with contextlib.suppress(OSError), open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Memory:
    """The highest sum of a server's memory, its children's included, since reset()."""

    def __init__(self, server):
        self.server, self.peak = server, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def now(self):
        # Counting shares walks all pages, so it is done only where there is somebody to share with, and rarely.
        young = children(self.server.process.pid)
        if young:
            return sum(proportional(pid) for pid in (self.server.process.pid, *young))
        return self.server.resident()

    def reset(self):
        self.peak = self.now()
        return self.peak

    def _run(self):
        while not self._end.wait(0.3 if children(self.server.process.pid) else 0.02):
            with contextlib.suppress(OSError):
                self.peak = max(self.peak, self.now())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._end.set()
        self._thread.join()


@contextlib.contextmanager
def load(server, keys, pipeline):
    """Writes without end while the context lasts."""
    command = bench_log.writers(server, pipeline, 2000000000, size=VALUE, keys=keys)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield child
        finally:
            child.kill()


def save(server, command, flush):
    """Starts it, waits for its end: (start, end) in monotonic time. A FLUSHALL comes while it runs, if `flush`."""
    start = time.monotonic()
    server.call(command)
    if flush:
        time.sleep(0.05)
        # ASYNC: what redis-server frees at once holds its clients up by itself.
        server.call("FLUSHALL", "ASYNC")
    while True:
        time.sleep(0.02)
        state = server.info("persistence")
        if all(state.get(name, "0") == "0" for name in (*BUSY.values(), "aof_rewrite_scheduled")):
            end = time.monotonic()
            ok = state["rdb_last_bgsave_status" if command == "BGSAVE" else "aof_last_bgrewrite_status"]
            if ok != "ok":
                raise RuntimeError("%s: %s failed: %r" % (server.name, command, state))
            return start, end
        if time.monotonic() - start > 600:
            raise RuntimeError("%s: %s has not ended after ten minutes" % (server.name, command))


def rounds(server, options, keys):
    """One line of figures a command, and one for BGSAVE across FLUSHALL."""
    calm_seconds = 2 if options.quick else 8
    spans = []
    with load(server, keys, options.load_pipeline) as writer, Memory(server) as memory, \
            probe.Probe(server.port, keys, CONTROL_CORE, CLIENT_CORE) as reader:
        for command, flush in (("BGSAVE", False), ("BGREWRITEAOF", False), ("BGSAVE", True)):
            # Until the memory that the last one took has come to rest.
            time.sleep(1 if options.quick else 3)
            calm_start = time.monotonic()
            time.sleep(calm_seconds)
            before = memory.reset()
            start, end = save(server, command, flush)
            spans.append((command, flush, (calm_start, start), (start, end), before, memory.peak))
        if writer.poll() is not None:
            raise RuntimeError("%s: the load ended early" % server.name)
    found = []
    for command, flush, calm, during, before, peak in spans:
        calm_reads = probe.figures(reader.server.between(*calm))
        reads = probe.figures(reader.server.between(*during))
        control = probe.figures(reader.control.between(*during))
        found.append({"command": command, "flushall": flush, "seconds": during[1] - during[0],
                      "memory_before": before, "memory_peak": peak, "memory_more": peak / before - 1,
                      "calm_p99_ms": calm_reads["p99_ms"], "p99_ms": reads["p99_ms"],
                      "p99_ratio": reads["p99_ms"] / calm_reads["p99_ms"], "calm_longest_ms": calm_reads["longest_ms"],
                      "longest_ms": reads["longest_ms"], "control_longest_ms": control["longest_ms"],
                      "beyond_control_ms": reads["longest_ms"] - control["longest_ms"]})
    return found


def snapshot(options):
    keys = 250000 if options.quick else 2000000
    log = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": 0}
    runs = {False: [], True: []}
    # Each round fresh: FLUSHALL ends it, and no allocator carries anything over.
    for _ in range(options.pairs):
        with bench_log.folder() as place:
            for server in bench_log.pair(place, {"client-loops": 1, "storage-shards": 1, **log}, log, SERVER_CORES):
                with server:
                    server.fill(0, keys, VALUE)
                    runs[server.redis].append(rounds(server, options, keys))
    rows = []
    for redis, name in ((False, "skein"), (True, "redis-server")):
        for index, first in enumerate(runs[redis][0]):
            cells = [run[index] for run in runs[redis]]
            numbers = {key: statistics.median(cell[key] for cell in cells)
                       for key, value in first.items() if isinstance(value, float)}
            rows.append({"server": name, "command": first["command"], "flushall": first["flushall"], **numbers, "runs": cells})
    if not options.json:
        show(rows, options, keys)
    return {"snapshot": rows}


def show(rows, options, keys):
    terminal.say()
    terminal.say(terminal.paint("  %-13s %-18s %8s %8s %20s %7s %11s %11s %10s" % (
        "", "", "seconds", "memory", "p99 ms, calm/during", "times", "longest ms", "control ms", "beyond"), "bold"))
    for row in rows:
        what = row["command"] + (" + FLUSHALL" if row["flushall"] else "")
        good = row["memory_more"] <= 0.1 and row["p99_ratio"] <= 2 and row["beyond_control_ms"] <= 5
        line = "  %-13s %-18s %8.2f %+7.1f%% %11.2f / %6.2f %6.1fx %11.2f %11.2f %10.2f" % (
            row["server"], what, row["seconds"], row["memory_more"] * 100, row["calm_p99_ms"], row["p99_ms"],
            row["p99_ratio"], row["longest_ms"], row["control_longest_ms"], row["beyond_control_ms"])
        terminal.say(terminal.paint(line, "dim" if row["server"] != "skein" else "green" if good else "yellow"))
    terminal.say()
    terminal.say("  %s values of %d bytes; %d connections write, %d deep, without a rest; reads, 1000 a second, are measured"
                 % (terminal.count(keys), VALUE, bench_log.CLIENTS, options.load_pipeline))
    terminal.say("  medians of %d rounds in turns. Memory: the peak of all the server's processes over what it was just before"
                 % options.pairs)
    terminal.say("  goals: memory +10 %, p99 twice that of calm, the longest wait 5 ms beyond that of the control")
