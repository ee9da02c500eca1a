"""ops/bench fullsync and replica: what a replica costs its primary, and how soon it holds everything."""

import contextlib
import os
import time

import bench_log
import bench_snapshot
import probe
import resp
import servers
import terminal

BOTH_CORES = {0, 1}
SERVER_CORE, CLIENT_CORE = 0, 1
VALUE = 100
REDIS = {"cluster-enabled": "no", "repl-diskless-sync": "yes", "repl-diskless-sync-delay": 0,
         "enable-debug-command": "local"}


def settled(server):
    """Whether the server, a replica, has its primary's data and follows."""
    state = server.info("replication")
    return state["role"] == "slave" and state["master_link_status"] == "up"


def wait_for(condition, seconds, text):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("%s after %d s" % (text, seconds))
        time.sleep(0.005)


def introduce(primary, replica):
    """Makes them nodes of one cluster, if they are nodes of clusters; returns the command that attaches the replica."""
    if primary.directives["cluster-enabled"] == "no":
        return "REPLICAOF", "127.0.0.1", primary.port
    name = primary.call("CLUSTER", "MYID").decode()
    replica.call("CLUSTER", "MEET", "127.0.0.1", primary.port)
    wait_for(lambda: resp.fields(replica.call("CLUSTER", "INFO"))["cluster_state"] == "ok", 30,
             "%s: the nodes have not met" % primary.name)
    return "CLUSTER", "REPLICATE", name


def level(primary, replica):
    """Whether the replica has received, and says so, all that the primary has."""
    state = primary.info("replication")
    offset = "offset=%s," % state["master_repl_offset"]
    return offset in state.get("slave0", "") + "," and settled(replica)


def attach(primary, replica):
    """Attaches it and waits until it has its primary's data and follows: seconds."""
    command = introduce(primary, replica)
    start = time.monotonic()
    replica.call(*command)
    # Its loop may be loading: what it answers late is late.
    wait_for(lambda: settled(replica), 600, "%s: the replica does not follow" % primary.name)
    return time.monotonic() - start


def compare(primary, replica):
    """Raises unless both hold the same."""
    wait_for(lambda: level(primary, replica), 60, "%s: the replica is behind" % primary.name)
    for words in (("DBSIZE",), ("DEBUG", "DIGEST")):
        ours, theirs = primary.call(*words), replica.call(*words)
        if ours != theirs:
            raise RuntimeError("%s: %s: the primary has %r, its replica %r" % (primary.name, " ".join(words), ours, theirs))


# ---- Full synchronisation -------------------------------------------------------------------------------------------

def spent(server):
    """Seconds of CPU, with that of threads and children which have ended."""
    with open("/proc/%d/stat" % server.process.pid, encoding="ascii") as file:
        words = file.read().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")


def one_fullsync(primary, replica, keys, calm_seconds, writes):
    with contextlib.ExitStack() as stack:
        load = stack.enter_context(bench_snapshot.load(primary, keys, 1)) if writes else None
        memory = stack.enter_context(bench_snapshot.Memory(primary))
        reader = stack.enter_context(probe.Probe(primary.port, keys, SERVER_CORE, CLIENT_CORE))
        calm = time.monotonic()
        time.sleep(calm_seconds)
        before = memory.reset()
        used = spent(primary), spent(replica)
        start = time.monotonic()
        seconds = attach(primary, replica)
        end = time.monotonic()
        if not writes and replica.call("DBSIZE") != keys:
            raise RuntimeError("%s: the replica follows without all of the keys" % primary.name)
        used = spent(primary) - used[0], spent(replica) - used[1]
        if load and load.poll() is not None:
            raise RuntimeError("%s: the load ended early" % primary.name)
        peak = memory.peak
    compare(primary, replica)
    reads, control = (probe.figures(samples.between(start, end)) for samples in (reader.server, reader.control))
    calm_reads = probe.figures(reader.server.between(calm, start))
    return {"seconds": seconds, "memory_more": peak / before - 1, "primary_cpu_seconds": used[0],
            "replica_cpu_seconds": used[1], "calm_p99_ms": calm_reads["p99_ms"], "p99_ms": reads["p99_ms"],
            "longest_ms": reads["longest_ms"], "control_longest_ms": control["longest_ms"]}


def fullsync(options):
    keys = options.sync_keys
    files = {} if options.appendfsync is None else {"appendonly": "yes", "appendfsync": options.appendfsync,
                                                    "auto-aof-rewrite-percentage": 0}
    ours = {"client-loops": 2, "storage-shards": 2, "enable-debug-command": "local", **files}
    # The last is redis-server at its best: unless told so, a replica writes what it receives to a file and loads that.
    kinds = (("skein", False, ours), ("redis-server", True, {**REDIS, **files}),
             ("redis, no file", True, {**REDIS, **files, "repl-diskless-load": "on-empty-db"}))
    rows = []
    for writes in (False, True):
        runs = {name: [] for name, _, _ in kinds}
        for _ in range(options.pairs):
            for name, redis, directives in kinds:
                with bench_log.folder() as place, \
                        servers.Server(name, os.path.join(place, "primary"), BOTH_CORES, directives, redis=redis) as primary, \
                        servers.Server(name + ", replica", os.path.join(place, "replica"), BOTH_CORES, directives,
                                       redis=redis, empty=True) as replica:
                    primary.fill(0, keys, VALUE)
                    runs[name].append(one_fullsync(primary, replica, keys, 1 if options.quick else 3, writes))
        cells = {name: bench_log.middle(found) for name, found in runs.items()}
        rows.append({"writes": writes, "keys": keys, "cells": cells, "runs": runs,
                     "ratio": cells["redis-server"]["seconds"] / cells["skein"]["seconds"]})
        if not options.json:
            show_fullsync(rows[-1], first=len(rows) == 1)
    if not options.json:
        terminal.say()
        terminal.say("  %s values of %d bytes, from the command that attaches an empty replica until it follows and holds them;"
                     % (terminal.count(keys), VALUE))
        terminal.say("  all servers on both cores; Skein with two loops and two shards; digests were equal; medians of %d in turns"
                     % options.pairs)
        terminal.say("  memory: the primary's, over what it was; CPU: seconds that the primary and the replica spent; the goal is 2 times")
    return {"fullsync": rows}


def show_fullsync(row, first):
    if first:
        terminal.say()
        terminal.say(terminal.paint("  %-13s %-15s %8s %9s %16s %20s %11s %11s" % (
            "", "", "seconds", "memory", "CPU s, both", "p99 ms, calm/during", "longest ms", "control ms"), "bold"))
    for name, cell in row["cells"].items():
        terminal.say("  %-13s %-15s %8.2f %+8.1f%% %7.2f / %6.2f %11.2f / %6.2f %11.2f %11.2f" % (
            "under writes" if row["writes"] else "at rest", name, cell["seconds"], cell["memory_more"] * 100,
            cell["primary_cpu_seconds"], cell["replica_cpu_seconds"], cell["calm_p99_ms"], cell["p99_ms"],
            cell["longest_ms"], cell["control_longest_ms"]))
    terminal.say(terminal.paint("  %-13s faster by        %6.2fx" % ("", row["ratio"]),
                                "green" if row["ratio"] >= 2 else "yellow"))


# ---- What one replica costs -----------------------------------------------------------------------------------------

def one_replica(primary, replica, requests):
    before = primary.cpu_by_thread()
    rate, p99 = bench_log.write(primary, 16, requests, size=VALUE)
    if replica:
        wait_for(lambda: level(primary, replica), 60, "%s: the replica is behind" % primary.name)
    after = primary.cpu_by_thread()
    spent = {name: (after[name] - before.get(name, 0)) * 1e6 / requests for name in after}
    return {"loop_us_per_op": spent["main" if primary.redis else "loop"], "all_us_per_op": sum(spent.values()),
            "ops_per_second": rate, "write_p99_ms": p99}


def replica(options):
    requests = 250000 if options.quick else 2000000
    one = {"client-loops": 1, "storage-shards": 1, "cluster-enabled": "no", "enable-debug-command": "local"}
    forms = (("no files", {}), ("everysec", {"appendonly": "yes", "appendfsync": "everysec",
                                             "auto-aof-rewrite-percentage": 0}))
    rows = []
    for form, files in forms:
        runs, servers_of = {}, {}
        with bench_log.folder() as place, contextlib.ExitStack() as stack:
            for redis, directives in ((False, one), (True, REDIS)):
                for replicas in (0, 1):
                    where = os.path.join(place, "%d-%d" % (redis, replicas))
                    name = "redis-server" if redis else "skein"
                    primary = stack.enter_context(servers.Server(
                        name, os.path.join(where, "primary"), SERVER_CORE, {**directives, **files}, redis=redis))
                    primary.fill(0, bench_log.KEYS, VALUE)
                    follower = None
                    if replicas:
                        # Not on the primary's core: there is the client's.
                        follower = stack.enter_context(servers.Server(
                            name + ", replica", os.path.join(where, "replica"), CLIENT_CORE, {**directives, **files},
                            redis=redis, empty=True))
                        attach(primary, follower)
                    one_replica(primary, follower, requests // 10)
                    servers_of[(redis, replicas)], runs[(redis, replicas)] = (primary, follower), []
            for _ in range(options.pairs):
                for key, pair in servers_of.items():
                    runs[key].append(one_replica(*pair, requests))
            for pair in servers_of.values():
                if pair[1]:
                    compare(*pair)
        for redis, name in ((False, "skein"), (True, "redis-server")):
            alone, followed = bench_log.middle(runs[(redis, 0)]), bench_log.middle(runs[(redis, 1)])
            rows.append({"server": name, "files": form, "alone": alone, "followed": followed,
                         "loop_cpu_ratio": followed["loop_us_per_op"] / alone["loop_us_per_op"],
                         "all_cpu_ratio": followed["all_us_per_op"] / alone["all_us_per_op"],
                         "runs": {"alone": runs[(redis, 0)], "followed": runs[(redis, 1)]}})
            if not options.json:
                show_replica(rows[-1], first=len(rows) == 1)
    if not options.json:
        terminal.say()
        terminal.say("  medians of %d runs of %s in turns; values of %d bytes; the primary on core %d, its replica and the client on %d"
                     % (options.pairs, terminal.count(requests), VALUE, SERVER_CORE, CLIENT_CORE))
        terminal.say("  of the primary's CPU alone; digests were equal in the end; the goal is 15 % for the loops; redis-server's loop"
                     " is its main thread")
    return {"replica": rows}


def show_replica(row, first):
    if first:
        terminal.say()
        terminal.say(terminal.paint("  %-13s %-9s %-12s %13s %18s %10s" % (
            "SET, 16 deep", "files", "", "loops, µs/op", "all threads, µs/op", "ops/s"), "bold"))
    for label, cell in (("alone", row["alone"]), ("one replica", row["followed"])):
        terminal.say("  %-13s %-9s %-12s %13.3f %18.3f %10s" % (
            row["server"], row["files"], label, cell["loop_us_per_op"], cell["all_us_per_op"],
            terminal.count(cell["ops_per_second"])))
    more, all_more = (row["loop_cpu_ratio"] - 1) * 100, (row["all_cpu_ratio"] - 1) * 100
    terminal.say(terminal.paint("  %-13s a replica costs the loops %+.1f %%, all threads %+.1f %%" % ("", more, all_more),
                                "green" if more <= 15 or row["server"] != "skein" else "yellow"))
