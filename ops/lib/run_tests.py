"""ops/test: builds and runs every test there is, and counts what really ran.

Stages: unit tests optimised; the same under AddressSanitizer with UBSan; those that start threads under
ThreadSanitizer; each fuzz target for a few seconds; the scripts' own checks; end-to-end tests with real clients; the
crash matrix (tests/crash) in its short form.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import bazel
import terminal

STAGES = ("unit", "asan", "tsan", "fuzz", "scripts", "e2e", "crash")
DISK_CACHE = pathlib.Path.home() / ".cache" / "skein-bazel"
DISK_CACHE_LIMIT = 8 << 30


def unit():
    return bazel.test("unit", "-c", "opt", "//...")


def asan():
    return bazel.test("asan", "--config=asan", "//...")


def tsan():
    return bazel.test("tsan", "--config=tsan", "--test_tag_filters=threads", "//...")


def fuzz(seconds):
    counts = bazel.Counts()
    targets = bazel.query("query", 'attr(tags, "\\bfuzz\\b", //...)')
    if not targets:
        return counts
    # One at a time would lose time; together, one that does not build would hide the others.
    bazel.build("--config=asan", "--keep_going", *targets)
    folder = pathlib.Path(bazel.query("info", "--config=asan", "bazel-bin")[0])
    built = []
    for target in targets:
        if bazel.build("--config=asan", "--noshow_progress", "--ui_event_filters=-info,-warning", target) == 0:
            built.append(target)
        else:
            counts.fail("fuzz %s: failed to build" % target)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for target, (code, output, artifacts) in zip(built, pool.map(lambda one: fuzz_one(folder, one, seconds), built)):
            runs = [line.rsplit(":", 1)[1].strip() for line in output.splitlines()
                    if line.startswith("stat::number_of_executed_units")]
            if code == 0 and runs and int(runs[0]) > 0:
                counts.passed += 1
                terminal.say("  %s: %s inputs" % (target, terminal.count(int(runs[0]))))
            else:
                counts.fail("fuzz %s: exit code %d" % (target, code))
                terminal.say(output[-6000:])
                for name, data in artifacts:
                    terminal.say("  %s (%d bytes): %s" % (name, len(data), data[:512].hex()))
    return counts


def fuzz_one(folder, target, seconds):
    """Exit code, output and what it found, as [(name, bytes)]."""
    package, name = target[2:].split(":")
    with tempfile.TemporaryDirectory(prefix="skein-fuzz-") as corpus:
        options = ["-max_total_time=%d" % seconds, "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
                   "-print_final_stats=1", "-artifact_prefix=%s/" % corpus]
        seeds = bazel.ROOT / package / (name + "_corpus")
        done = subprocess.run([str(folder / package / name), *options, corpus, *([str(seeds)] if seeds.is_dir() else [])],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=seconds + 120)
        found = [(artifact, pathlib.Path(corpus, artifact).read_bytes()) for artifact in sorted(os.listdir(corpus))
                 if artifact.split("-")[0] in ("crash", "timeout", "oom", "leak")]
        return done.returncode, done.stdout.decode(errors="replace"), found


def scripts():
    """The shell scripts pass shellcheck, the Python ones compile."""
    counts = bazel.Counts()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=bazel.ROOT, stdout=subprocess.PIPE, check=False).stdout
    for name in sorted(part.decode() for part in listed.split(b"\0") if part):
        path = bazel.ROOT / name
        if not path.is_file() or path.is_symlink():
            continue
        with open(path, "rb") as file:
            head = file.read(64)
        if head.startswith((b"#!/bin/bash", b"#!/bin/sh", b"#!/usr/bin/env bash")):
            code = subprocess.run(["shellcheck", str(path)], stdin=subprocess.DEVNULL, check=False).returncode
        elif name.endswith(".py"):
            try:
                compile(path.read_text(encoding="utf-8"), name, "exec")
                code = 0
            except SyntaxError as error:
                terminal.say("  %s" % error)
                code = 1
        else:
            continue
        if code == 0:
            counts.passed += 1
        else:
            counts.fail("scripts %s" % name)
    return counts


def run_pytest(stage, environment, *arguments):
    counts = bazel.Counts()
    with tempfile.TemporaryDirectory(prefix="skein-%s-" % stage) as work:
        report = os.path.join(work, "report.xml")
        code = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short",
                               "--junitxml=" + report, *arguments],
                              cwd=bazel.ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
        cases = bazel.count_cases(report)
    if cases is not None:
        passed, failed, skipped = cases
        counts.passed += passed
        # A machine that cannot run a test has not passed it.
        for name in failed + skipped:
            counts.fail("%s %s" % (stage, name))
    if code != 0 and not counts.failed:
        counts.fail("%s: pytest ended with exit code %d" % (stage, code))
    return counts


def with_node(stage, counts, *more):
    """Builds the node and `more` targets. The environment that names the node, or None."""
    if bazel.build("-c", "opt", "//node:skein-node", *more) != 0:
        counts.fail("%s: failed to build" % " ".join([stage, "//node:skein-node", *more]))
        return None
    node = pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "node" / "skein-node"
    return dict(bazel.environment(), SKEIN_NODE=str(node), PYTHONDONTWRITEBYTECODE="1")


def e2e():
    counts = bazel.Counts()
    environment = with_node("e2e", counts, "//ops:skein-aof", "//tests/crash:libfaulty_disk.so")
    if environment is not None:
        output = pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0])
        environment["SKEIN_AOF"] = str(output / "ops" / "skein-aof")
        environment["SKEIN_FAULTY_DISK"] = str(output / "tests" / "crash" / "libfaulty_disk.so")
        # Two at a time, as they mostly wait; a file's tests stay together, in their order.
        counts.add(run_pytest("e2e", environment, "-v", "--durations=10", "-n", "2", "--dist", "loadfile",
                              str(bazel.ROOT / "tests" / "e2e")))
    return counts


def crash():
    """The judge's own tests, and disks that fail; then every cell of the matrix for a few rounds, killed and without
    power."""
    counts = bazel.Counts()
    environment = with_node("crash", counts, "//tests/crash:power_loss", "//tests/crash:libfaulty_disk.so", "//ops:skein-aof")
    if environment is None:
        return counts
    folder = bazel.ROOT / "tests" / "crash"
    output = pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "tests" / "crash"
    environment["SKEIN_POWER_LOSS"] = str(output / "power_loss")
    environment["SKEIN_AOF"] = str(output.parents[1] / "ops" / "skein-aof")
    environment["SKEIN_FAULTY_DISK"] = str(output / "libfaulty_disk.so")
    counts.add(run_pytest("crash", environment, "-q", str(folder)))
    for options in (["--short"], ["--short", "--kill-points"], ["--short", "--power-loss"]):
        with tempfile.TemporaryDirectory(prefix="skein-crash-") as work:
            table = pathlib.Path(work) / "table.json"
            code = subprocess.run([str(folder / "run"), *options, "--json", str(table)], cwd=bazel.ROOT,
                                  env=environment, stdin=subprocess.DEVNULL, check=False).returncode
            rows = json.loads(table.read_text(encoding="utf-8")) if table.exists() else []
        failed = [row for row in rows if row["failure"] is not None]
        counts.passed += len(rows) - len(failed)
        for row in failed:
            counts.fail("crash %s: %s" % (row["cell"], row["failure"].splitlines()[0]))
        if not rows or code != 0 and not failed:
            counts.fail("crash: tests/crash/run %s ended with exit code %d" % (" ".join(options), code))
    return counts


def trim_disk_cache():
    """Bazel never deletes from its disk cache: keep the newest files, up to a limit."""
    files = []
    for folder, _, names in os.walk(DISK_CACHE):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= DISK_CACHE_LIMIT:
            break
        try:
            os.unlink(path)
            total -= size
        except OSError:
            pass


def main():
    parser = argparse.ArgumentParser(prog="ops/test", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-install", action="store_true", help="do not look for missing packages")
    parser.add_argument("--only", action="append", choices=STAGES, help="run this stage alone (may be repeated)")
    parser.add_argument("--fuzz-seconds", type=int, default=5, metavar="N", help="time for each fuzz target (5)")
    options = parser.parse_args()
    # Ended from outside, Bazel's server is shut down all the same.
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))
    stages = options.only or STAGES
    run = {"unit": unit, "asan": asan, "tsan": tsan, "fuzz": lambda: fuzz(options.fuzz_seconds), "scripts": scripts,
           "e2e": e2e, "crash": crash}
    names = {"unit": "unit tests, optimised", "asan": "unit tests under AddressSanitizer and UBSan",
             "tsan": "unit tests with threads, under ThreadSanitizer", "fuzz": "fuzz targets", "scripts": "scripts",
             "e2e": "end-to-end tests", "crash": "crash matrix"}
    done = []
    try:
        for stage in STAGES:
            if stage not in stages:
                continue
            start = time.monotonic()
            terminal.title("%s" % names[stage])
            try:
                counts = run[stage]()
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                counts = bazel.Counts()
                counts.fail("%s: %s" % (stage, error))
            done.append((names[stage], counts, time.monotonic() - start))
            terminal.say("%s: %d passed, %d failed (%s)" % (names[stage], counts.passed, counts.failed,
                                                           terminal.seconds(done[-1][2])))
    finally:
        bazel.shut_down()
    trim_disk_cache()
    total = bazel.Counts()
    for _, counts, _ in done:
        total.add(counts)
    if total.failed:
        terminal.title("failed")
        for name in total.failures:
            terminal.say("  " + terminal.paint(name, "red"))
    terminal.title("summary")
    for name, counts, taken in done:
        terminal.say("  %-50s %6d passed %5d failed  %s" % (name, counts.passed, counts.failed,
                                                            terminal.seconds(taken)))
    if not total.passed and not total.failed:
        total.fail("nothing ran")
    terminal.say()
    terminal.say("%d passed, %d failed" % (total.passed, total.failed))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
