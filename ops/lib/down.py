"""ops/down: ends the cluster that ops/up started, and nothing else. The data stays for `ops/up --keep-data`."""

import argparse
import concurrent.futures
import sys

import cluster
import process
import terminal

PATIENCE = 20  # seconds between SIGTERM and SIGKILL


def main():
    parser = argparse.ArgumentParser(prog="ops/down", description=__doc__)
    parser.parse_args()
    try:
        with cluster.locked():
            plan = cluster.Plan.load()
            if plan is None:
                terminal.say("there is no cluster of ops/up here")
                return 0
            with concurrent.futures.ThreadPoolExecutor(max_workers=plan.nodes) as pool:
                outcomes = list(pool.map(lambda port: process.stop(cluster.pid_file(port), PATIENCE), plan.ports))
    except (cluster.Problem, OSError) as problem:
        print("ops/down: %s" % problem, file=sys.stderr)
        return 1
    for port, outcome in zip(plan.ports, outcomes):
        if outcome == "killed":
            outcome = terminal.paint("did not end within %d s of SIGTERM, killed with SIGKILL" % PATIENCE, "red")
        terminal.say("  127.0.0.1:%d  %s" % (port, outcome))
    terminal.say("  the data stays in %s; `ops/up --keep-data` starts the same cluster again" % cluster.FOLDER)
    return 1 if "killed" in outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
