"""ops/up: builds Skein, starts a local cluster and shows it at work. Run again, it leaves a running cluster as it is."""

import argparse
import os
import pathlib
import shlex
import sys

import bazel
import cluster
import demo
import load
import picture
import terminal


def build():
    """The node's binary. SKEIN_NODE names another that is to be used as it is."""
    given = os.environ.get("SKEIN_NODE")
    if given:
        return given
    if bazel.build("-c", "opt", "//node:skein-node") != 0:
        raise cluster.Problem("the build failed; Bazel's messages are above")
    return str(pathlib.Path(bazel.query("info", "-c", "opt", "bazel-bin")[0]) / "node" / "skein-node")


def keep_binary(built):
    """A copy in .cluster/: a later build does not change the program under a running node."""
    kept = cluster.FOLDER / "skein-node"
    data = pathlib.Path(built).read_bytes()
    if not kept.exists() or kept.read_bytes() != data:
        aside = cluster.FOLDER / "skein-node.new"
        aside.write_bytes(data)
        aside.chmod(0o755)
        aside.replace(kept)
        return str(kept), True
    return str(kept), False


def bring_up(options):
    before = cluster.Plan.load()
    alive = cluster.running(before) if before else []
    wanted = cluster.Plan(options.nodes, options.port, "", options.replicas)
    if alive and not before.same(wanted):
        raise cluster.Problem("a cluster of %s is running; stop it first with ops/down" % before.words())
    # Cheap refusals come before the build.
    cluster.check_ports(wanted, alive)

    with terminal.Step("building //node:skein-node"):
        built = build()
    if os.environ.get("SKEIN_NODE"):
        binary, changed = built, False
    else:
        binary, changed = keep_binary(built)
    plan = cluster.Plan(options.nodes, options.port, binary, options.replicas)

    if len(alive) == plan.total:
        terminal.say("  the cluster is running already; it is left as it is")
        if changed:
            terminal.say("  its nodes run the build before this one; `ops/down`, then `ops/up --keep-data` for the new one")
        return plan

    # A node that died while the others live comes back on its own data; a cluster that was stopped begins anew,
    # unless its data was asked for.
    keep = bool(alive) or options.keep_data
    if before and not keep:
        cluster.wipe(before)
    elif before and not before.same(plan):
        raise cluster.Problem("the data that is kept is of %s; ask for the same, or leave out --keep-data"
                              % before.words())
    plan.save()
    missing = [port for port in plan.ports if port not in alive]
    with terminal.Step("starting %d node%s: %s" % (len(missing), "" if len(missing) == 1 else "s",
                                                   ", ".join(map(str, missing)))):
        for port in missing:
            cluster.start_node(plan, port)
    with terminal.Step("waiting for the nodes to find each other over the bus"
                       if before and keep else "spreading the slots, and letting the nodes find each other over the bus"):
        if before and keep:
            cluster.await_ok(plan)
            cluster.await_replicas(plan)
        else:
            cluster.form(plan)
    return plan


def whole(text, low, high):
    value = int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError("must be between %d and %d" % (low, high))
    return value


def main():
    parser = argparse.ArgumentParser(prog="ops/up", description=__doc__)
    parser.add_argument("--nodes", type=lambda text: whole(text, 1, 100), default=3, metavar="N",
                        help="primaries, 1 to 100 (3)")
    parser.add_argument("--replicas", type=lambda text: whole(text, 0, 5), default=1, metavar="N",
                        help="replicas of each primary, 0 to 5 (1)")
    parser.add_argument("--port", type=lambda text: whole(text, 1, 55535), default=7000, metavar="P",
                        help="client port of the first node; the bus listens 10000 above (7000)")
    parser.add_argument("--demo", action="store_true", help="kill a primary under load, and show what the clients see")
    parser.add_argument("--keep-data", action="store_true",
                        help="start a stopped cluster again with its data, instead of beginning anew")
    parser.add_argument("--no-install", action="store_true", help="do not look for missing packages")
    options = parser.parse_args()
    if options.port + options.nodes * (1 + options.replicas) - 1 > 55535:
        parser.error("the last node's bus port would be past 65535; choose a lower --port")
    try:
        with cluster.locked():
            plan = bring_up(options)
            with terminal.Step("a short load by a cluster client that follows MOVED"):
                load.run(plan)
            if options.demo:
                terminal.say()
                if not demo.run(plan):
                    return 1
    except (cluster.Problem, OSError) as problem:
        print("ops/up: %s" % problem, file=sys.stderr)
        return 1
    terminal.say()
    well = picture.show(plan)
    terminal.say()
    terminal.say("  connect   redis-cli -c -p %d" % plan.port)
    terminal.say("  watch     ops/status --watch")
    terminal.say("  logs      %s" % shlex.quote(os.path.relpath(cluster.node_folder(plan.port) / "node.log")))
    terminal.say("  stop      ops/down")
    return 0 if well else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
