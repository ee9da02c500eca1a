"""tests/cluster/run: a real cluster of many nodes on this machine, and what can happen to it."""

import argparse
import pathlib
import random
import shutil
import statistics
import sys
import tempfile
import time

import fleet as fleets
import net
import scenarios
import servers
import site_of_fleet as sites


# What a node may hold at the end, in what it held at the start: a quarter more, and what the allocator of a process keeps
# that has had threads and has been busy.
GROWTH, SLACK = 1.25, 4 << 20


def settle(fleet):
    """Links, descriptors and memory, once the links are as many as they should be."""
    count = len(fleet.nodes)

    def calm():
        return all(links == 2 * (count - 1) for links, _, _ in fleet.links())
    if not fleets.process.wait_until(calm, 60):
        raise fleets.Unexpected("links do not return to %d: %s" % (2 * (count - 1), [row[0] for row in fleet.links()]))
    return fleet.links()


def run(options, folder):
    place = net.Namespaces() if options.namespaces else net.Loopback()
    seeds = {"cluster-seeds": scenarios.SEEDS} if options.namespaces else {}
    site = sites.Site(folder / "site") if options.tls else None
    fleet = fleets.Fleet(folder, place, options.node, options.nodes, options.timeout, options.seed, site, **seeds)
    todo = list(scenarios.LOOPBACK)
    if options.tls:
        todo += scenarios.TLS
    if options.namespaces:
        todo += scenarios.CUTTING
    if options.only:
        todo = [scenario for scenario in todo if scenario.__name__ in options.only]
    failed = 0
    try:
        fleet.write_hosts()
        fleet.start()
        print("%d nodes, node timeout %d ms, %s, %s, seed %d" % (
            options.nodes, options.timeout, "network namespaces" if options.namespaces else "loopback",
            "TLS" if options.tls else "plain", options.seed))
        print("  formed in %.1f s" % fleet.form(), flush=True)
        before = settle(fleet)
        for number in range(options.rounds):
            for scenario in todo:
                try:
                    outcome = scenario(fleet)
                except fleets.Unexpected as error:
                    failed += 1
                    outcome = "FAILED: %s" % error
                print("  %-22s %s" % (scenario.__name__.replace("_", " "), outcome), flush=True)
                if failed:
                    return 1
        after = settle(fleet)
        print("  links %d a node, as at the start; descriptors %d -> %d; resident %.1f -> %.1f MiB (medians)" % (
            after[0][0], statistics.median(row[1] for row in before), statistics.median(row[1] for row in after),
            statistics.median(row[2] for row in before) / 2**20, statistics.median(row[2] for row in after) / 2**20))
        grown = [index for index, (was, now) in enumerate(zip(before, after)) if now[1] > was[1] + 4]
        if grown:
            print("  FAILED: descriptors have grown at nodes %s" % grown)
            return 1
        grown = [index for index, (was, now) in enumerate(zip(before, after)) if now[2] > was[2] * GROWTH + SLACK]
        if grown:
            print("  FAILED: memory has grown at nodes %s: %s" % (grown, ", ".join(
                "%.1f -> %.1f MiB" % (before[index][2] / 2**20, after[index][2] / 2**20) for index in grown)))
            return 1
        return 0
    except fleets.Unexpected as error:
        print("  FAILED: %s" % error)
        return 1
    finally:
        fleet.close()


def main():
    parser = argparse.ArgumentParser(prog="tests/cluster/run", description=__doc__)
    parser.add_argument("--node", help="the binary (SKEIN_NODE, else built now)")
    parser.add_argument("--nodes", type=int, default=40)
    parser.add_argument("--timeout", type=int, default=5000, help="cluster-node-timeout, ms")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--loopback", dest="namespaces", action="store_false",
                        help="addresses of the loopback device: needs no root, but cannot cut the network")
    parser.add_argument("--tls", action="store_true", help="tls-cluster, a certificate a node, and churn of both")
    parser.add_argument("--only", action="append", help="a scenario by name; may be repeated")
    parser.add_argument("--keep", action="store_true", help="keep the nodes' folders")
    options = parser.parse_args()
    if options.namespaces and not net.Namespaces.possible():
        sys.exit("network namespaces need root and iproute2; with --loopback neither is needed")
    options.node = options.node or servers.built_node()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-fleet-"))
    began = time.monotonic()
    code = run(options, folder)
    if options.keep or code != 0:
        print("  folders kept: %s" % folder)
    else:
        shutil.rmtree(folder)
    print("  %s after %.0f s" % ("done" if code == 0 else "failed", time.monotonic() - began))
    sys.exit(code)


if __name__ == "__main__":
    main()
