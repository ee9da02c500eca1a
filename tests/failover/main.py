"""tests/failover/run: replica groups under load, faults, and a judge of everything that clients were told.

Each round draws what it does by chance from its own seed, which is printed: `--seed THAT --only FAULT` does it again, as
far as the machine's timing lets it.
"""

import argparse
import os
import pathlib
import random
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))
sys.path.insert(0, str(ROOT / "ops" / "lib"))

import bazel  # noqa: E402
import clients  # noqa: E402
import disk  # noqa: E402
import faults  # noqa: E402
import groups as groups_  # noqa: E402
import history  # noqa: E402
import net  # noqa: E402
import servers  # noqa: E402
import wires  # noqa: E402

CALM, CALM_SHORT = 1.0, 0.3  # seconds of load before and after a fault


def one(groups, name, seed, calm):
    """One fault under load; (what it saw, verdict, findings that nothing excuses, longest pause of the writers hit)."""
    fault = faults.FAULTS[name]
    groups.random.seed("%d %s" % (seed, name))
    groups.hit, groups.excuse = [], None
    for node in groups.roles():
        node.call("FLUSHALL")
    load = clients.Load(groups.addresses(), seed=seed)
    try:
        time.sleep(calm)
        began = time.monotonic()
        words = fault.act(groups)
        time.sleep(calm)
    finally:
        load.stop()
    groups.await_well()
    verdict = history.judge(load.registers, load.journals, load.reads, load.final())
    gone = groups.excuse or fault.gone
    synced = groups.directives["appendfsync"] == "always" or groups.directives.get("write-commit") == "disk"
    unsynced = gone == faults.UNSYNCED and not synced
    found = verdict.unexplained(may_lose=unsynced or gone == faults.UNREPLICATED, replicas_too=unsynced)
    groups.await_agreement()
    for words_of_one in disk.compare_with_disk(groups.nodes, groups.slots_by_node(), groups.folder, groups.binary):
        found.append(history.Finding("disk and memory differ", "", words_of_one))
    if not load.acknowledged():
        found.append(history.Finding("no load", "", "nothing was acknowledged"))
    return words, verdict, found, load.pause(groups.hit or [(0, groups_.SLOTS - 1)], began)


def names_of(options):
    """What is run: all that this place can, or what was asked for."""
    possible = [name for name, fault in faults.FAULTS.items()
                if (options.namespaces or options.wires or not fault.cuts) and (options.faulty_disk or not fault.disk)]
    if options.short:
        return [name for name in possible if faults.FAULTS[name].short == ("wires" if options.wires else options.fsync)]
    for name in options.only or ():
        if name not in possible:
            raise SystemExit("%s needs %s" % (name, "--namespaces or --wires" if faults.FAULTS[name].cuts else "--faulty-disk"))
    return options.only or possible


def tell_pauses(pauses, timeout_ms):
    """Of each fault, how long writes to the slots that were hit were out."""
    print("  %-32s %6s  %s" % ("writers paused", "rounds", "median, least, most (in node timeouts)"))
    for name, seconds in pauses.items():
        shown = (statistics.median(seconds), min(seconds), max(seconds))
        print("  %-32s %6d  %s  (%s)" % (name, len(seconds), ", ".join("%.2f s" % value for value in shown),
                                         ", ".join("%.2f" % (value * 1000 / timeout_ms) for value in shown)))


def run(options, folder):
    place = net.Namespaces() if options.namespaces else wires.InPath(groups_.PORT) if options.wires else net.Loopback()
    names = names_of(options)
    directives = {"appendonly": "yes", "appendfsync": options.fsync, "enable-debug-command": "yes",
                  "storage-shards": options.shards, "client-loops": options.shards}
    if options.write_commit:
        directives["write-commit"] = options.write_commit
    groups = groups_.Groups(folder, place, options.node, options.primaries, options.replicas,
                            faulty_disk=options.faulty_disk, timeout_ms=options.timeout, seed=options.seed, **directives)
    failed = passed = 0
    pauses = {name: [] for name in names}
    try:
        groups.write_hosts()
        groups.start()
        groups.form_groups()
        print("%d primaries with %d replicas each, %d shards, appendfsync %s, node timeout %d ms" % (
            options.primaries, options.replicas, options.shards, options.fsync, options.timeout))
        for seed in range(options.seed, options.seed + options.rounds):
            print("seed %d" % seed, flush=True)
            for name in names:
                try:
                    words, verdict, found, pause = one(groups, name, seed, CALM_SHORT if options.short else CALM)
                except (groups_.Unexpected, AssertionError) as error:
                    print("  %-24s FAILED (seed %d): %s" % (name, seed, error), flush=True)
                    return 1
                pauses[name].append(pause)
                print("  %-24s %s; writers paused %.2f s" % (name, words, pause))
                print("  %-24s %s" % ("", verdict.words()), flush=True)
                for finding in found[:10]:
                    print("  %-24s WRONG (seed %d): %s: %s %s" % ("", seed, finding.kind, finding.key, finding.words),
                          flush=True)
                failed += bool(found)
                passed += not found
    finally:
        groups.close()
    if options.rounds > 1:
        tell_pauses(pauses, options.timeout)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


def faulty_disk():
    """The library for faults of a disk: SKEIN_FAULTY_DISK as it is, or built now if the node is, too."""
    if os.environ.get("SKEIN_FAULTY_DISK"):
        return os.environ["SKEIN_FAULTY_DISK"]
    if bazel.build("-c", "opt", "//tests/crash:libfaulty_disk.so") != 0:
        raise RuntimeError("the build failed")
    return str(pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "tests" / "crash" / "libfaulty_disk.so")


def main():
    parser = argparse.ArgumentParser(prog="tests/failover/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--primaries", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--timeout", "--node-timeout", type=int, default=2000, metavar="MS",
                        help="cluster-node-timeout (2000)")
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="everysec")
    parser.add_argument("--write-commit", choices=("memory", "disk"), help="when a write is answered")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1000000), help="of the first round")
    parser.add_argument("--short", action="store_true", help="a few of them, with little load: for ops/test")
    parser.add_argument("--only", nargs="+", choices=sorted(faults.FAULTS), metavar="FAULT",
                        help="of: " + " ".join(faults.FAULTS))
    parser.add_argument("--namespaces", action="store_true", help="a network namespace a node: faults that cut (root)")
    parser.add_argument("--wires", action="store_true",
                        help="a proxy in front of each node: faults that cut, without rights")
    parser.add_argument("--node", help="the binary (built if not given)")
    parser.add_argument("--faulty-disk", metavar="LIB", help="libfaulty_disk.so (built if not given and no --node is)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the nodes' logs")
    options = parser.parse_args()
    if options.faulty_disk is None and (options.node is None or os.environ.get("SKEIN_FAULTY_DISK")):
        options.faulty_disk = faulty_disk()
    options.node = options.node or servers.built_node()
    folder = tempfile.mkdtemp(prefix="skein-failover-")
    code = 1
    try:
        code = run(options, folder)
    finally:
        if options.keep or code:
            print("logs: %s" % folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
