"""tests/failover/run: replica groups under load, faults, and a judge of everything that clients were told."""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "ops" / "lib"))

import clients  # noqa: E402
import faults  # noqa: E402
import groups as groups_  # noqa: E402
import history  # noqa: E402
import net  # noqa: E402
import servers  # noqa: E402

CALM = 1.0  # seconds of load before and after a fault


def one(groups, name, seed):
    """One fault under load; (what it saw, verdict, findings that nothing excuses, longest pause of all writers)."""
    fault, gone, _ = faults.FAULTS[name]
    unsynced = gone == faults.UNSYNCED and groups.directives["appendfsync"] != "always"
    for node in groups.nodes:
        if node.running():
            try:
                node.call("FLUSHALL")
            except groups_.resp.Error:
                pass  # a replica
    load = clients.Load(groups.addresses(), seed=seed)
    try:
        time.sleep(CALM)
        load.forget_longest()
        words = fault(groups)
        time.sleep(CALM)
    finally:
        load.stop()
    groups.await_well()
    verdict = history.judge(load.registers, load.journals, load.reads, load.final())
    found = verdict.unexplained(may_lose=unsynced or gone == faults.UNREPLICATED, replicas_too=unsynced)
    groups.await_agreement()
    if not load.acknowledged():
        found.append(history.Finding("no load", "", "nothing was acknowledged"))
    return words, verdict, found, load


def run(options, folder):
    place = net.Namespaces() if options.namespaces else net.Loopback()
    names = options.only or [name for name, (_, _, cuts) in faults.FAULTS.items() if options.namespaces or not cuts]
    directives = {"appendonly": "yes", "appendfsync": options.fsync, "enable-debug-command": "yes",
                  "storage-shards": options.shards, "client-loops": options.shards}
    groups = groups_.Groups(folder, place, options.node, options.primaries, options.replicas,
                            timeout_ms=options.timeout, seed=options.seed, **directives)
    failed = passed = 0
    try:
        groups.write_hosts()
        groups.start()
        groups.form_groups()
        print("%d primaries with %d replicas each, %d shards, appendfsync %s, node timeout %d ms, seed %d" % (
            options.primaries, options.replicas, options.shards, options.fsync, options.timeout, options.seed))
        for number in range(options.rounds):
            for name in names:
                try:
                    words, verdict, found, load = one(groups, name, options.seed * 100 + number)
                except (groups_.Unexpected, AssertionError) as error:
                    print("  %-18s FAILED: %s" % (name, error), flush=True)
                    return 1
                print("  %-18s %s; writers paused %.2f s at most" % (name, words, load.longest))
                print("  %-18s %s" % ("", verdict.words()), flush=True)
                for finding in found[:10]:
                    print("  %-18s WRONG: %s: %s %s" % ("", finding.kind, finding.key, finding.words), flush=True)
                failed += bool(found)
                passed += not found
    finally:
        groups.close()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(prog="tests/failover/run", description=__doc__)
    parser.add_argument("--primaries", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=2000, metavar="MS", help="cluster-node-timeout (2000)")
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="everysec")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=sorted(faults.FAULTS), metavar="FAULT",
                        help="of: " + " ".join(faults.FAULTS))
    parser.add_argument("--namespaces", action="store_true", help="a network namespace a node: faults that cut (root)")
    parser.add_argument("--node", help="the binary (built if not given)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the nodes' logs")
    options = parser.parse_args()
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
