"""ops/status: shows the cluster that ops/up started. Exit code 0 if it is well, 1 if not, 3 if there is none."""

import argparse
import sys
import time

import cluster
import picture
import terminal

INTERVAL = 1.0  # seconds between two pictures


def watch(plan):
    """A new picture each second, in place on a terminal, until interrupted."""
    while True:
        text, _ = picture.lines(plan)
        stamp = time.strftime("%H:%M:%S")
        if terminal.is_terminal():
            sys.stdout.write("\033[H\033[2J" + "\n".join(text) + "\n\n  " + stamp + ", every second; Ctrl-C ends\n")
        else:
            sys.stdout.write(stamp + "\n" + "\n".join(text) + "\n\n")
        sys.stdout.flush()
        time.sleep(INTERVAL)


def main():
    parser = argparse.ArgumentParser(prog="ops/status", description=__doc__)
    parser.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")
    options = parser.parse_args()
    try:
        plan = cluster.Plan.load()
        if plan is None or not cluster.running(plan):
            terminal.say("no cluster is running here; ops/up starts one")
            return 3
        if options.watch:
            watch(plan)
        return 0 if picture.show(plan) else 1
    except cluster.Problem as problem:
        print("ops/status: %s" % problem, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
