"""ops/bench always, everysec and recovery: what the append-only file costs, and what it gives back."""

import contextlib
import csv
import io
import os
import signal
import statistics
import subprocess
import tempfile
import time

import probe
import servers
import terminal

SERVER_CORE, CLIENT_CORE = 0, 1
CLIENTS = 50
KEYS = 1000000


def folder():
    """Both servers' files lie in one place, on the disk that is to be measured: SKEIN_BENCH_DIR, or the usual one."""
    return tempfile.TemporaryDirectory(prefix="skein-bench-", dir=os.environ.get("SKEIN_BENCH_DIR"))


def pair(place, skein, redis, cores=SERVER_CORE, **keep):
    """Skein and redis-server, to be entered; `skein`, `redis`: directives."""
    return (servers.Server("skein", os.path.join(place, "skein"), cores, skein, **keep),
            servers.Server("redis-server", os.path.join(place, "redis"), cores, redis, redis=True, **keep))


def writers(server, pipeline, requests, size=16, keys=KEYS):
    """The command of a load of SETs."""
    return ["taskset", "-c", str(CLIENT_CORE), "redis-benchmark", "-p", str(server.port), "-t", "set", "-n",
            str(requests), "-P", str(pipeline), "-c", str(CLIENTS), "-d", str(size), "-r", str(keys), "--csv"]


def write(server, pipeline, requests, **more):
    """(operations a second, p99 in milliseconds)."""
    done = subprocess.run(writers(server, pipeline, requests, **more), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if done.returncode != 0 or len(rows) != 1:
        raise RuntimeError("redis-benchmark against %s failed:\n%s%s" % (server.name, done.stdout, done.stderr))
    return float(rows[0]["rps"]), float(rows[0]["p99_latency_ms"])


def requests_for(server, pipeline, seconds):
    """As many writes as take about so long; the first ones also warm it."""
    trial = 500 * pipeline
    rate, _ = write(server, pipeline, trial)
    rate, _ = write(server, pipeline, max(trial, int(rate / 2)))
    return max(trial, int(rate * seconds))


def flushes(path):
    """Flushes that the disk of `path` has done; 0 where the kernel does not count them."""
    device = os.stat(path).st_dev
    with open("/proc/diskstats", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if (int(words[0]), int(words[1])) == (os.major(device), os.minor(device)):
                return int(words[18]) if len(words) > 18 else 0
    return 0


def middle(runs):
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


# ---- appendfsync always ---------------------------------------------------------------------------------------------

def one_always(server, pipeline, requests, place):
    before, began = flushes(place), time.monotonic()
    with probe.Probe(server.port, KEYS, SERVER_CORE, CLIENT_CORE, rate=500) as reader:
        start = time.monotonic()
        rate, p99 = write(server, pipeline, requests)
        end = time.monotonic()
    synced = flushes(place) - before
    reads = probe.figures(reader.server.between(start, end))
    control = probe.figures(reader.control.between(start, end))
    return {"ops_per_second": rate, "write_p99_ms": p99, "read_p99_ms": reads["p99_ms"],
            "read_longest_ms": reads["longest_ms"], "control_p99_ms": control["p99_ms"],
            "disk_flushes_per_second": synced / (time.monotonic() - began)}


def always(options):
    rows = []
    seconds = 2 if options.quick else 6
    log = {"appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-percentage": 0}
    with folder() as place:
        ours, theirs = pair(place, {"client-loops": 1, "storage-shards": 1, **log}, log)
        with ours as skein, theirs as redis:
            for pipeline in (1, 16):
                runs = {skein: [], redis: []}
                requests = {server: requests_for(server, pipeline, seconds) for server in runs}
                for _ in range(options.pairs):
                    for server in runs:
                        runs[server].append(one_always(server, pipeline, requests[server], place))
                mine, other = middle(runs[skein]), middle(runs[redis])
                rows.append({"pipeline": pipeline, "skein": mine, "redis": other,
                             "ops_ratio": mine["ops_per_second"] / other["ops_per_second"],
                             "read_p99_ratio": other["read_p99_ms"] / mine["read_p99_ms"],
                             "runs": {server.name: runs[server] for server in runs}})
                if not options.json:
                    show_always(rows[-1], first=len(rows) == 1)
    if not options.json:
        terminal.say()
        terminal.say("  medians of %d runs of about %d s in turns; %d connections write, 10 others read 500 times a second"
                     % (options.pairs, seconds, CLIENTS))
        terminal.say("  goals: 1.5 times the writes, reads 3 times faster at p99; control: an echo on the server's core")
    return {"always": rows}


def show_always(row, first):
    if first:
        terminal.say()
        terminal.say(terminal.paint("  %8s  %-13s %10s %12s %11s %12s %11s %10s" % (
            "pipeline", "always", "writes/s", "write p99 ms", "read p99 ms", "read max ms", "control p99", "flushes/s"),
            "bold"))
    for name in ("skein", "redis"):
        cell = row[name]
        terminal.say("  %8d  %-13s %10s %12.2f %11.2f %12.2f %11.2f %10.0f" % (
            row["pipeline"], name, terminal.count(cell["ops_per_second"]), cell["write_p99_ms"], cell["read_p99_ms"],
            cell["read_longest_ms"], cell["control_p99_ms"], cell["disk_flushes_per_second"]))
    goal = row["ops_ratio"] >= 1.5 and row["read_p99_ratio"] >= 3
    terminal.say(terminal.paint("  %8s  better by     %9.2fx %12s %10.2fx" % (
        "", row["ops_ratio"], "", row["read_p99_ratio"]), "green" if goal else "yellow"))


# ---- appendfsync everysec -------------------------------------------------------------------------------------------

def one_cpu(server, requests):
    before = server.cpu_by_thread()
    rate, p99 = write(server, 16, requests)
    after = server.cpu_by_thread()
    spent = {name: (after[name] - before.get(name, 0)) * 1e6 / requests for name in after}
    loops = spent.pop("main") if server.redis else spent.pop("loop")
    log = sum(spent.pop(name, 0) for name in list(spent) if name.startswith(("log", "bio")))
    return {"loop_us_per_op": loops, "log_us_per_op": log, "other_us_per_op": sum(spent.values()),
            "ops_per_second": rate, "write_p99_ms": p99}


def everysec(options):
    log = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": 0}
    requests = 250000 if options.quick else 2000000
    one = {"client-loops": 1, "storage-shards": 1}
    with folder() as place, contextlib.ExitStack() as stack:
        runs = {}
        for label, shared in (("no files", {}), ("everysec", log)):
            where = os.path.join(place, label.replace(" ", "-"))
            for server in pair(where, {**one, **shared}, shared):
                stack.enter_context(server)
                server.fill(0, KEYS)
                one_cpu(server, requests // 10)
                runs[(server.redis, label)] = (server, [])
        for _ in range(options.pairs):
            for server, found in runs.values():
                found.append(one_cpu(server, requests))
    rows = []
    for redis, name in ((False, "skein"), (True, "redis-server")):
        without, with_log = middle(runs[(redis, "no files")][1]), middle(runs[(redis, "everysec")][1])
        rows.append({"server": name, "no_files": without, "everysec": with_log,
                     "loop_cpu_ratio": with_log["loop_us_per_op"] / without["loop_us_per_op"],
                     "runs": {label: runs[(redis, label)][1] for label in ("no files", "everysec")}})
    if not options.json:
        show_everysec(rows, options.pairs, requests)
    return {"everysec": rows}


def show_everysec(rows, pairs, requests):
    terminal.say()
    terminal.say(terminal.paint("  %-13s %-9s %14s %14s %12s %12s" % (
        "SET, 16 deep", "", "loops, µs/op", "writers, µs/op", "rest, µs/op", "ops/s"), "bold"))
    for row in rows:
        for label, cell in (("no files", row["no_files"]), ("everysec", row["everysec"])):
            terminal.say("  %-13s %-9s %14.3f %14.3f %12.3f %12s" % (
                row["server"], label, cell["loop_us_per_op"], cell["log_us_per_op"], cell["other_us_per_op"],
                terminal.count(cell["ops_per_second"])))
        more = (row["loop_cpu_ratio"] - 1) * 100
        text = "  %-13s the log costs its loops %+.1f %%" % ("", more)
        terminal.say(terminal.paint(text, "green" if more <= 15 or row["server"] != "skein" else "yellow"))
    terminal.say()
    terminal.say("  medians of %d runs of %s in turns; the goal is 15 %%; redis-server's loop is its main thread"
                 % (pairs, terminal.count(requests)))


# ---- Recovery -------------------------------------------------------------------------------------------------------

def stop(server):
    """Ends it as an operator would, and waits."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(300)


def await_saves(server):
    deadline = time.monotonic() + 600
    busy = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    while time.monotonic() < deadline:
        state = server.info("persistence")
        if all(state.get(name, "0") == "0" for name in busy):
            return state
        time.sleep(0.02)
    raise RuntimeError("%s is still saving after ten minutes" % server.name)


def rewrite(server):
    server.call("BGREWRITEAOF")
    time.sleep(0.1)
    state = await_saves(server)
    if state["aof_last_bgrewrite_status"] != "ok":
        raise RuntimeError("%s did not rewrite: %r" % (server.name, state))


# What lies in the folder at the restart, and how it gets there.
FORMS = (
    ("incr", "the log alone", {"appendonly": "yes"}, None),
    ("base", "a rewritten log", {"appendonly": "yes"}, rewrite),
    ("rdb", "dump.rdb", {"appendonly": "no"}, lambda server: server.call("SAVE")),
)


def recovery(options):
    keys = 250000 if options.quick else 2000000
    rows = []
    for form, text, shared, prepare in FORMS:
        with folder() as place:
            runs = {}
            ours = {"client-loops": 2, "storage-shards": 2}
            both = {"auto-aof-rewrite-percentage": 0, "appendfsync": "no", **shared}
            cores = {SERVER_CORE, CLIENT_CORE}
            # redis-server at its best: without a cluster it need not keep the keys of each slot.
            settings = pair(place, {**ours, **both}, {"cluster-enabled": "no", **both}, cores, keep=True)
            for server in settings:
                with server:
                    server.fill(0, keys, 100)
                    if prepare:
                        prepare(server)
                    stop(server)
                runs[server.redis] = []
            for _ in range(options.pairs):
                for server in settings:
                    again = servers.Server(server.name, server.folder, cores, server.directives, redis=server.redis,
                                           keep=True, full_at=keys)
                    with again:
                        runs[server.redis].append(again.ready_after)
                        stop(again)
        mine, other = statistics.median(runs[False]), statistics.median(runs[True])
        rows.append({"form": form, "keys": keys, "skein_seconds": mine, "redis_seconds": other, "ratio": other / mine,
                     "runs": {"skein": runs[False], "redis": runs[True]}})
        if not options.json:
            if len(rows) == 1:
                terminal.say()
                terminal.say(terminal.paint("  %-18s %12s %14s %10s" % ("restart from", "skein", "redis-server", "faster by"),
                                            "bold"))
            terminal.say("  %-18s %10.2f s %12.2f s %s" % (text, mine, other, terminal.paint(
                "%9.2fx" % (other / mine), "green" if other / mine >= 2 else "yellow")))
    if not options.json:
        terminal.say()
        terminal.say("  from exec to the first PONG with %s keys of 16 and values of 100 bytes; medians of %d in turns"
                     % (terminal.count(keys), options.pairs))
        terminal.say("  Skein with two loops and two shards, both servers on both cores; the goal is 2 times")
    return {"recovery": rows}
