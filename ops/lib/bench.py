"""ops/bench: Skein beside redis-server 7.0, on the same machine, in turns.

  ops/bench           operations a second, server CPU time an operation, p99: SET and GET at pipeline 1, 16 and 64
  ops/bench memory    bytes a key, for 16-byte names and 16-byte values
  ops/bench stalls    the longest single command, as the loop's CPU time, while a table grows and shrinks
  ops/bench always    appendfsync always: writes a second and their p99, and p99 of reads beside them
  ops/bench everysec  what the append-only file costs the loops, as CPU time an operation; the writers' beside it
  ops/bench snapshot  memory, p99 and the longest wait while BGSAVE and BGREWRITEAOF run under a load of writes
  ops/bench storm       what 50,000 bus messages a second cost the loops and p99, and how soon heartbeats are answered
  ops/bench fullsync  how soon an empty replica holds two million values, and what the primary's clients and memory feel
  ops/bench replica   what one replica costs its primary, as CPU time an operation at pipeline 16
  ops/bench recovery  the time of a restart, from the log, a rewritten log and an RDB file

The server is pinned to one core and the client (redis-benchmark, one thread) to another; both servers are cluster nodes
that own all slots, without persistence unless that is what is measured. Runs alternate, A B A B; medians are reported.
"""

import argparse
import csv
import io
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import bazel
import bench_log
import bench_replication
import bench_snapshot
import bench_storm
import servers
import terminal

PIPELINES = (1, 16, 64)
COMMANDS = ("SET", "GET")
REQUESTS = {1: 200000, 16: 2000000, 64: 4000000}  # about three seconds of redis-server each
GOALS = {1: 1.1, 16: 2.0, 64: 3.0}  # CPU time of redis-server an operation, in that of one loop and one shard
SERVER_CORE, CLIENT_CORE = 0, 1


def one_run(server, command, pipeline, requests, keys, clients):
    """One run of redis-benchmark; (operations a second, CPU microseconds an operation, p99 in milliseconds)."""
    before = server.cpu()
    done = subprocess.run(
        ["taskset", "-c", str(CLIENT_CORE), "redis-benchmark", "-p", str(server.port), "-t", command.lower(), "-n",
         str(requests), "-P", str(pipeline), "-c", str(clients), "-d", "16", "-r", str(keys), "--csv"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    spent = server.cpu() - before
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if done.returncode != 0 or len(rows) != 1:
        raise RuntimeError("redis-benchmark against %s failed:\n%s%s" % (server.name, done.stdout, done.stderr))
    return float(rows[0]["rps"]), spent * 1e6 / requests, float(rows[0]["p99_latency_ms"])


def medians(runs):
    return {"ops_per_second": statistics.median(run[0] for run in runs),
            "cpu_us_per_op": statistics.median(run[1] for run in runs),
            "p99_ms": statistics.median(run[2] for run in runs), "runs": runs}


def measure_pair(skein, redis, options):
    """All cells of one pair of servers."""
    cells = []
    for pipeline in options.pipelines:
        for command in COMMANDS:
            requests = REQUESTS[pipeline] // (8 if options.quick else 1)
            runs = {skein: [], redis: []}
            # The first of each warms caches and buffers, and is not counted.
            for server in (skein, redis):
                one_run(server, command, pipeline, requests // 10, options.keys, options.clients)
            for _ in range(options.pairs):
                for server in (skein, redis):
                    runs[server].append(one_run(server, command, pipeline, requests, options.keys, options.clients))
            ours, theirs = medians(runs[skein]), medians(runs[redis])
            cell = {"command": command, "pipeline": pipeline, "skein": ours, "redis": theirs,
                    "ops_ratio": ours["ops_per_second"] / theirs["ops_per_second"],
                    "cpu_ratio": theirs["cpu_us_per_op"] / ours["cpu_us_per_op"]}
            cells.append(cell)
            if not options.json:
                show_cell(cell, skein.name)
    return cells


HEAD = "  %-4s %8s   %12s %9s %8s   %12s %9s %8s   %7s %7s"
LINE = "  %-4s %8d   %12s %9.3f %8.3f   %12s %9.3f %8.3f   %6.2fx %s"


def show_head(name):
    terminal.say(terminal.paint("  %-4s %8s   %-31s   %-31s   %s" % ("", "", name, "redis-server", "better by"), "bold"))
    terminal.say(terminal.paint(HEAD % ("", "pipeline", "ops/s", "µs/op", "p99 ms", "ops/s", "µs/op", "p99 ms", "ops/s",
                                        "CPU"), "dim"))


def show_cell(cell, name):
    ours, theirs, ratio = cell["skein"], cell["redis"], cell["cpu_ratio"]
    text = "%6.2fx" % ratio
    if name.endswith("1 loop, 1 shard"):
        text = terminal.paint(text, "green" if ratio >= GOALS[cell["pipeline"]] else "yellow")
    terminal.say(LINE % (cell["command"], cell["pipeline"], terminal.count(ours["ops_per_second"]),
                         ours["cpu_us_per_op"], ours["p99_ms"], terminal.count(theirs["ops_per_second"]),
                         theirs["cpu_us_per_op"], theirs["p99_ms"], cell["ops_ratio"], text))


def plural(count, word):
    return "%d %s%s" % (count, word, "" if count == 1 else "s")


def throughput(options):
    layouts = []
    for text in options.layouts.split(","):
        loops, shards = (int(part) for part in text.split("x"))
        layouts.append((loops, shards))
    shared = {} if options.appendfsync is None else {"appendonly": "yes", "appendfsync": options.appendfsync}
    results = []
    with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder:
        for loops, shards in layouts:
            name = "skein, %s, %s" % (plural(loops, "loop"), plural(shards, "shard"))
            with servers.Server(name, os.path.join(folder, "skein"), SERVER_CORE,
                                {"client-loops": loops, "storage-shards": shards, **shared}) as skein, \
                    servers.Server("redis-server", os.path.join(folder, "redis"), SERVER_CORE, shared,
                                   redis=True) as redis:
                for server in (skein, redis):
                    server.fill(0, options.keys)
                if not options.json:
                    terminal.say()
                    show_head(name)
                results.append({"loops": loops, "shards": shards, "cells": measure_pair(skein, redis, options)})
    if not options.json:
        terminal.say()
        terminal.say("  medians of %s in turns; %s keys, %d connections; the server on core %d, the client on core %d"
                     % (plural(options.pairs, "run"), terminal.count(options.keys), options.clients, SERVER_CORE,
                        CLIENT_CORE))
        terminal.say("  CPU: what redis-server spends on an operation, in units of what Skein spends, all threads")
        terminal.say("  where the client is the limit, operations a second do not tell the servers apart: CPU does")
    return {"throughput": results}


def memory(options):
    rows = []
    with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder:
        for keys in options.memory_keys:
            for name, redis in (("skein", False), ("redis-server", True)):
                directives = {} if redis else {"client-loops": 1, "storage-shards": 1}
                with servers.Server(name, os.path.join(folder, name), SERVER_CORE, directives, redis=redis) as server:
                    # What the first keys of all slots and a client's buffers cost is not a key's cost.
                    resident, used = server.resident(), server.used_memory()
                    server.fill(0, keys)
                    rows.append({"server": name, "keys": keys, "rss_bytes_per_key": (server.resident() - resident) / keys,
                                 "used_memory_bytes_per_key": (server.used_memory() - used) / keys})
                    if not options.json:
                        if len(rows) == 1:
                            terminal.say()
                            terminal.say(terminal.paint("  %-14s %12s   %14s   %18s" % (
                                "bytes a key", "keys", "resident", "used_memory"), "bold"))
                        terminal.say("  %-14s %12s   %14.1f   %18.1f" % (
                            name, terminal.count(keys), rows[-1]["rss_bytes_per_key"],
                            rows[-1]["used_memory_bytes_per_key"]))
    if not options.json:
        terminal.say()
        terminal.say("  names and values of 16 bytes, one loop and one shard")
    return {"memory": rows}


def stalls(options):
    if bazel.build("-c", "opt", "//storage:keyspace_bench") != 0:
        raise RuntimeError("the build failed")
    binary = pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "storage" / "keyspace_bench"
    keys = 1000000 if options.quick else 10000000
    rows, said = [], ""
    for part in ("longest", "control"):
        done = subprocess.run(["taskset", "-c", str(SERVER_CORE), str(binary), str(keys), part],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=1800, check=False)
        said += done.stdout
        for line in done.stdout.splitlines():
            found = re.match(r"(one slot|all slots)\s+(growing|shrinking|nothing|malloc|free)\s+(\d+) operations: mean (\d+) ns.*"
                             r"longest, in us: ([\d. ]+)", line)
            if found:
                rows.append({"keys_in": found[1] if part == "longest" else "control", "what": found[2],
                             "operations": int(found[3]), "mean_ns": int(found[4]),
                             "longest_us": [float(word) for word in found[5].split()]})
    if len(rows) != 7:
        raise RuntimeError("keyspace_bench failed:\n" + said)
    if not options.json:
        terminal.say()
        terminal.say(terminal.paint("  %-10s %-10s %12s %12s   %s" % ("keys in", "", "operations", "mean", "five longest, µs"),
                                    "bold"))
        for row in rows:
            worst = " ".join("%.1f" % value for value in row["longest_us"])
            style = "dim" if row["keys_in"] == "control" else "green" if row["longest_us"][0] < 500 else "yellow"
            terminal.say("  %-10s %-10s %12s %9d ns   %s" % (row["keys_in"], row["what"],
                                                            terminal.count(row["operations"]), row["mean_ns"],
                                                            terminal.paint(worst, style)))
        terminal.say()
        terminal.say("  CPU time of the thread for one write, from an empty table to a full one and back; the goal is 500 µs")
        terminal.say("  control: what the machine adds to reading the clock, and, without pages made ready, to malloc and free of"
                     " 64 bytes")
    return {"stalls": rows}


def main():
    parser = argparse.ArgumentParser(prog="ops/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="throughput",
                        choices=("throughput", "memory", "stalls", "always", "everysec", "snapshot", "storm", "fullsync", "replica",
                                 "recovery", "all"))
    parser.add_argument("--quick", action="store_true", help="an eighth of the work: a first look")
    parser.add_argument("--json", action="store_true", help="results as JSON on standard output, instead of tables")
    parser.add_argument("--pairs", type=int, help="runs of each server a cell (5; 2 with --quick)")
    parser.add_argument("--layouts", default="1x1,1x4,2x2", metavar="LxS,...",
                        help="client loops x storage shards to measure (1x1,1x4,2x2)")
    parser.add_argument("--pipelines", type=lambda text: [int(part) for part in text.split(",")], default=list(PIPELINES),
                        metavar="P,...", help="of 1, 16 and 64")
    parser.add_argument("--keys", type=int,
                        help="keys that commands choose among (1,000,000); with memory and fullsync: keys written")
    parser.add_argument("--clients", type=int, default=50, help="connections (50)")
    parser.add_argument("--appendfsync", choices=("always", "everysec", "no"), help="measure with the append-only file")
    parser.add_argument("--load-pipeline", type=int, default=1, metavar="P", help="with snapshot: of the writes (1)")
    parser.add_argument("--no-install", action="store_true", help="do not look for missing packages")
    options = parser.parse_args()
    options.pairs = options.pairs or (2 if options.quick else 5)
    options.memory_keys = [options.keys] if options.keys else ([200000] if options.quick else [1000000, 10000000])
    options.sync_keys = options.keys or (250000 if options.quick else 2000000)
    options.keys = options.keys or 1000000
    if not set(options.pipelines) <= set(PIPELINES):
        parser.error("pipelines are 1, 16 and 64")
    if options.pairs < 1 or options.keys < 1000:
        parser.error("at least one pair and 1000 keys")
    if os.cpu_count() < 2:
        parser.error("server and client need a core each")
    if options.load_pipeline < 1:
        parser.error("a pipeline is at least 1 deep")
    busy = os.getloadavg()[0]
    if busy > 0.7 and not options.json:
        terminal.say(terminal.paint("  the machine is busy (load %.1f): the figures are not to be trusted" % busy, "yellow"))
    every = {"throughput": throughput, "memory": memory, "stalls": stalls, "always": bench_log.always,
             "everysec": bench_log.everysec, "snapshot": bench_snapshot.snapshot, "storm": bench_storm.storm,
             "fullsync": bench_replication.fullsync, "replica": bench_replication.replica,
             "recovery": bench_log.recovery}
    parts = every.values() if options.what == "all" else [every[options.what]]
    result = {"load_before": busy}
    try:
        for part in parts:
            result.update(part(options))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print("ops/bench: %s" % error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
