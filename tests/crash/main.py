"""The crash matrix: SIGKILL at random instants and at every named point, then: is everything acknowledged there?

Every cell is SHARDS-POLICY-calm|rewrite-LOOPS: the number of storage shards, appendfsync, whether BGREWRITEAOF runs all
the time, the number of client loops (with 2, half of the clients are on another loop than the shard). `lost` counts
acknowledged commands that the policy promised to keep and that are gone; `missing` those that everysec and no may lose.
A round that fails prints the seed that leads to the same commands again, and keeps its folder.
"""

import argparse
import collections
import concurrent.futures
import fnmatch
import json
import multiprocessing
import multiprocessing.util
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

import cells
import bazel
import harness
import kill_points
import resp
import terminal
import tool_kills
from cells import Failure
from clients import Wrong


POWER_LOSS = "//tests/crash:power_loss"
AOF = "//ops:skein-aof"
FAULTY_DISK = "//tests/crash:libfaulty_disk.so"
PowerCounts = collections.namedtuple("PowerCounts", "rounds acknowledged lost rewrites")
PowerCounts.missing = 0


WORKERS = 2  # of kill points


def begin_worker(count):
    """Each worker has ports and a source of ops/aof's rounds of its own."""
    with count.get_lock():
        harness.use_ports(count.value, WORKERS)
        count.value += 1
    multiprocessing.util.Finalize(None, tool_kills.forget_source, exitpriority=10)


def row(name, run, text):
    terminal.say("  %-42s %6d %14s %9s %6s  %s" % (name, run.rounds, terminal.count(run.acknowledged),
                                                   terminal.count(run.missing), terminal.count(run.lost), text))


def run_cell(cell, options, seed, keep):
    """One line of the table; returns what the summary needs."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-crash-%s-" % cell.name))
    started = time.monotonic()
    failure = None
    with cells.Run(cell, folder / "node", seed) as run:
        try:
            for _ in range(options.rounds):
                run.round(run.chance.uniform(0.05, options.seconds))
            if cell.rewrite and not run.rewrites:
                raise Failure("no rewrite began: %s" % (run.refusals[:1] or "no reply"))
        except (Failure, Wrong, OSError, resp.Error, AssertionError) as error:
            failure = "%s: %s" % (type(error).__name__, error) if not isinstance(error, Failure) else str(error)
        text = terminal.paint("ok", "green") if failure is None else terminal.paint("FAILED", "red")
        if cell.rewrite and failure is None:
            text += ", %d rewrites" % run.rewrites
        row(cell.name, run, text + terminal.paint("  %s" % terminal.seconds(time.monotonic() - started), "dim"))
    if failure is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        kept = keep / folder.name
        shutil.move(str(folder), kept)
        terminal.say("    %s\n    again: tests/crash/run --cell %s --rounds %d --seed %s\n    kept: %s"
                     % (failure, cell.name, options.rounds, seed, kept))
    return {"cell": cell.name, "rounds": run.rounds, "acknowledged": run.acknowledged, "missing": run.missing,
            "lost": run.lost, "rewrites": run.rewrites, "failure": failure}


def run_kill_point(point, options, seed, keep):
    """As run_cell, for one named place."""
    started = time.monotonic()
    counts = kill_points.Counts()
    failure = None
    for number in range(options.rounds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-crash-%s-" % point.replace(":", "-")))
        try:
            kill_points.visit(point, "%s %d" % (seed, number), folder, options.faulty_disk, options.aof, counts)
        except (Failure, Wrong, OSError, resp.Error, AssertionError, subprocess.SubprocessError) as error:
            failure = "%s: %s" % (type(error).__name__, error) if not isinstance(error, Failure) else str(error)
            shutil.move(str(folder), keep / folder.name)
            break
        shutil.rmtree(folder, ignore_errors=True)
    text = terminal.paint("ok", "green") if failure is None else terminal.paint("FAILED", "red")
    row("kill-" + point, counts, text + terminal.paint("  %s" % terminal.seconds(time.monotonic() - started), "dim"))
    if failure is not None:
        terminal.say("    %s\n    again: tests/crash/run --kill-points --cell %s --rounds %d --seed %s\n    kept: %s"
                     % (failure, point, options.rounds, seed, keep / folder.name))
    return {"cell": "kill-" + point, "rounds": counts.rounds, "acknowledged": counts.acknowledged,
            "missing": counts.missing, "lost": counts.lost, "rewrites": counts.rewrites, "failure": failure}


def run_power_cell(binary, cell, options, seed):
    """As run_cell, for a data set alone, on a disk in memory whose power fails."""
    started = time.monotonic()
    number = int(seed, 16) if all(letter in "0123456789abcdef" for letter in seed) else zlib.crc32(seed.encode())
    done = subprocess.run([str(binary), str(cell.shards), cell.policy, "rewrite" if cell.rewrite else "calm",
                           str(cell.loops), str(number), str(options.rounds)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    counts = PowerCounts(0, 0, 0, 0)
    failure = "\n".join(lines[-20:]) or "exit code %d" % done.returncode
    if lines and done.returncode in (0, 1):
        counts = PowerCounts(*(int(word) for word in lines[0].split()))
        failure = "\n".join(lines[1:]) if done.returncode else None
        if failure is None and cell.rewrite and not counts.rewrites:
            failure = "no rewrite began"
    text = terminal.paint("ok", "green") if failure is None else terminal.paint("FAILED", "red")
    if cell.rewrite and failure is None:
        text += ", %s rewrites" % terminal.count(counts.rewrites)
    name = "power-" + cell.name
    row(name, counts, text + terminal.paint("  %s" % terminal.seconds(time.monotonic() - started), "dim"))
    if failure is not None:
        terminal.say("    %s\n    again: tests/crash/run --power-loss --cell %s --rounds %d --seed %s"
                     % (failure, cell.name, options.rounds, seed))
    return {"cell": name, "rounds": counts.rounds, "acknowledged": counts.acknowledged, "missing": 0,
            "lost": counts.lost, "rewrites": counts.rewrites, "failure": failure}


def built(target):
    if bazel.build("-c", "opt", target) != 0:
        sys.exit("%s failed to build" % target)
    package, name = target[2:].split(":")
    return pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / package / name


def find_node():
    if os.environ.get("SKEIN_NODE"):
        return
    harness.BINARY = str(built("//node:skein-node"))


def main():
    parser = argparse.ArgumentParser(prog="tests/crash/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="what ops/test runs: about two minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds a cell (10)")
    parser.add_argument("--seconds", type=float, metavar="S", help="the longest load of a round (1.5; short: 0.5)")
    parser.add_argument("--cell", action="append", metavar="PATTERN", help="these cells alone, as 4-always-* (all)")
    parser.add_argument("--power-loss", action="store_true",
                        help="the power fails under a data set on a disk in memory; no node, no SIGKILL")
    parser.add_argument("--kill-points", action="store_true",
                        help="every named place between two steps on disk; --cell is a pattern of their names")
    parser.add_argument("--seed", default=None, help="as a failed round prints it (random)")
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()),
                        help="where the folders of failed rounds are kept (%(default)s)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write the table here")
    options = parser.parse_args()
    options.rounds = options.rounds or ((40 if options.power_loss else 1 if options.kill_points else 3) if options.short
                                        else 10)
    options.seconds = options.seconds or (0.5 if options.short else 1.5)
    power = None
    if options.power_loss:
        power = pathlib.Path(os.environ.get("SKEIN_POWER_LOSS") or built(POWER_LOSS))
    else:
        find_node()
    if options.kill_points:
        options.faulty_disk = pathlib.Path(os.environ.get("SKEIN_FAULTY_DISK") or built(FAULTY_DISK))
        options.aof = pathlib.Path(os.environ.get("SKEIN_AOF") or built(AOF))
    seed = options.seed or "%08x" % random.getrandbits(32)
    def asked_for(name):
        return not options.cell or any(fnmatch.fnmatch(name, pattern) for pattern in options.cell)

    if options.kill_points:
        wanted = [name for name in kill_points.places() if asked_for(name)]
    else:
        wanted = [cell for cell in cells.matrix() if asked_for(cell.name)]
    if not wanted:
        sys.exit("no cell is called %s" % " or ".join(options.cell))
    terminal.title("%s, seed %s" % ("power loss" if power else "kill points" if options.kill_points else "crash matrix",
                                    seed))
    terminal.say("  %-42s %6s %14s %9s %6s" % ("cell", "rounds", "acknowledged", "missing", "lost"))
    results = []
    try:
        if options.kill_points:
            # Two at a time, as they mostly wait.
            with concurrent.futures.ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork"), begin_worker,
                                                        (multiprocessing.Value("i", 0),)) as pool:
                results += pool.map(run_kill_point, wanted, [options] * len(wanted), [seed] * len(wanted),
                                    [options.keep] * len(wanted))
            wanted = []
        for cell in wanted:
            if power:
                results.append(run_power_cell(power, cell, options, seed))
            else:
                results.append(run_cell(cell, options, seed, options.keep))
    finally:
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    failed = [result for result in results if result["failure"]]
    terminal.say("  %-42s %6d %14s %9s %6s" % ("all", sum(result["rounds"] for result in results),
                                              terminal.count(sum(result["acknowledged"] for result in results)),
                                              terminal.count(sum(result["missing"] for result in results)),
                                              terminal.count(sum(result["lost"] for result in results))))
    terminal.say("%d passed, %d failed" % (len(results) - len(failed), len(failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
