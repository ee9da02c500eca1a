"""ops/bench storm: whether clients feel a storm on the cluster bus, and whether heartbeats feel it."""

import csv
import io
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import bazel
import servers
import terminal

LOOP_CORE, OTHER_CORE = 0, 1
RATE = 50000
PEERS = 2
PUBLISHES = 10000  # of the rate; the rest are heartbeats
PIPELINE = 16
GOAL_CPU, GOAL_WAIT_MS = 1.05, 50


class Peers:
    """bus:storm_peers, joined to a server; every line said to it is answered by at most one."""

    def __init__(self, server, folder):
        if os.environ.get("SKEIN_STORM_PEERS"):
            binary = os.environ["SKEIN_STORM_PEERS"]
        else:
            if bazel.build("-c", "opt", "//bus:storm_peers") != 0:
                raise RuntimeError("the build failed")
            binary = str(pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "bus" / "storm_peers")
        os.makedirs(folder)
        self.process = subprocess.Popen(
            ["taskset", "-c", str(OTHER_CORE), binary, "127.0.0.1", str(server.port + 10000), str(PEERS), folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the peers do not join")

    def say(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def report(self):
        self.say("report")
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            try:
                self.say("end")
                self.process.wait(20)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait(20)


def place(server):
    """Loops on a core of their own; every other thread on the other, beside peers and client."""
    for task in os.listdir("/proc/%d/task" % server.process.pid):
        with open("/proc/%d/task/%s/comm" % (server.process.pid, task), encoding="ascii") as file:
            name = file.read().strip()
        os.sched_setaffinity(int(task), {LOOP_CORE if name.startswith("loop-") else OTHER_CORE})


def one_run(server, peers, storm, options):
    """A run of redis-benchmark with or without the storm."""
    beats = (RATE - PUBLISHES, PUBLISHES // PEERS * PEERS) if storm else (200, 0)
    peers.say("storm %d %d" % beats)
    place(server)
    peers.report()
    before = server.cpu_by_thread()
    requests = options.storm_requests
    done = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), "redis-benchmark", "-p", str(server.port), "-t", "get", "-n", str(requests),
         "-P", str(PIPELINE), "-c", str(options.clients), "-d", "16", "-r", str(options.keys), "--csv"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    after = server.cpu_by_thread()
    report = peers.report()
    peers.say("storm 0 0")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if done.returncode != 0 or len(rows) != 1:
        raise RuntimeError("redis-benchmark failed:\n%s%s" % (done.stdout, done.stderr))
    seconds = report["seconds"]
    # Each published message comes from its peer to the server; heartbeats as they were sent.
    return {"ops_per_second": float(rows[0]["rps"]), "p99_ms": float(rows[0]["p99_latency_ms"]),
            "loop_us_per_op": (after["loop"] - before["loop"]) * 1e6 / requests,
            "bus_share": (sum(after.get(name, 0) - before.get(name, 0) for name in ("bus", "bus-io"))) / seconds,
            "messages_per_second": (report["heartbeats"] + report["publishes"]) / seconds,
            "answer_p50_ms": report["p50_us"] / 1e3, "answer_p99_ms": report["p99_us"] / 1e3,
            "answer_max_ms": report["max_us"] / 1e3, "unanswered": report["heartbeats"] - report["answers"]}


def storm(options):
    results = []
    options.storm_requests = 500000 if options.quick else 3000000
    for threads in (0, 1):
        with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder, \
                servers.Server("skein", os.path.join(folder, "skein"), {LOOP_CORE, OTHER_CORE},
                               {"client-loops": 1, "storage-shards": 1, "bus-io-threads": threads}) as server:
            server.fill(0, options.keys)
            with Peers(server, os.path.join(folder, "peers")) as peers:
                one_run(server, peers, False, options)
                runs = {False: [], True: []}
                for _ in range(options.pairs):
                    for stormy in (False, True):
                        runs[stormy].append(one_run(server, peers, stormy, options))
        middle = {stormy: {name: statistics.median(run[name] for run in rows) for name in rows[0]}
                  for stormy, rows in runs.items()}
        calm, stormy = middle[False], middle[True]
        worst = max(run["answer_max_ms"] for run in runs[True])
        ratio = stormy["loop_us_per_op"] / calm["loop_us_per_op"]
        results.append({"bus_io_threads": threads, "calm": calm, "storm": stormy, "loop_cpu_ratio": ratio,
                        "answer_worst_ms": worst, "runs": {"calm": runs[False], "storm": runs[True]}})
        if options.json:
            continue
        terminal.say()
        terminal.say(terminal.paint("  bus-io-threads %d  %12s %12s %9s %10s   %s" % (
            threads, "messages/s", "loop µs/op", "p99 ms", "ops/s", "heartbeats answered, ms: p50, p99, longest"), "bold"))
        for name, row, rows in (("calm", calm, runs[False]), ("storm", stormy, runs[True])):
            terminal.say("  %-16s %12s %12.4f %9.2f %10s   %.2f  %.2f  %.2f   the bus: %d %% of a core" % (
                name, terminal.count(row["messages_per_second"]), row["loop_us_per_op"], row["p99_ms"],
                terminal.count(row["ops_per_second"]), row["answer_p50_ms"], row["answer_p99_ms"],
                max(run["answer_max_ms"] for run in rows), 100 * row["bus_share"]))
        spread = [run["loop_us_per_op"] for run in runs[False]]
        terminal.say("  loop CPU time an operation: %s (goal %.2f); calm runs alone spread by %.1f %%; longest answer %s" % (
            terminal.paint("x%.3f" % ratio, "green" if ratio <= GOAL_CPU else "yellow"), GOAL_CPU,
            100 * (max(spread) - min(spread)) / statistics.median(spread),
            terminal.paint("%.1f ms" % worst, "green" if worst <= GOAL_WAIT_MS else "yellow")))
    if not options.json:
        terminal.say()
        terminal.say("  %d members storm one node with heartbeats (%s a second) and published messages (%s); GET, pipeline %d;"
                     % (PEERS, terminal.count(RATE - PUBLISHES), terminal.count(PUBLISHES), PIPELINE))
        terminal.say("  the loop has core %d, everything else shares core %d: the bus, the peers, redis-benchmark. Its rate and"
                     " p99 feel" % (LOOP_CORE, OTHER_CORE))
        terminal.say("  the peers' work there; the loop's CPU time an operation does not, and is what the bus may not change")
    return {"storm": results}
