"""Kills a replica while its data set gives way to one of its primary's number of shards (node/replication/shape_change.h).

At every named place on the way, and at random instants of it: what a start finds then is the old data set whole, or the
primary's; after that the pair agrees as after every other kill.
"""

import os
import shutil
import signal
import time

import judge
import replica_kills
import resp
from cells import Failure, Node
from replica_kills import BULK, BULK_SIZE, Pair, await_that
from tool_kills import RANDOM

COMMAND = "shape"
# How often a place is met on the way: first, last. A start lists once before.
TIMES = {"inherit.": (1, 1), "create.": (1, 1), "flip.": (1, 1), "reload.": (1, replica_kills.SHARDS),
         "manifest.": (2, 3 + replica_kills.SHARDS)}
NOT_MET = ("create.renamed", "create.synced")
OWN_SHARDS = (1, 3, 5)
OWN_KEYS = 300
SECONDS = 0.5  # about what the whole of it takes


def times(point):
    """(first, last), or None."""
    return None if point in NOT_MET else next((TIMES[prefix] for prefix in TIMES if point.startswith(prefix)), None)


def visit(point, chance, folder, counts):
    """Comes to the point once, and looks at what is left. Raises Failure."""
    with Pair(folder, chance, counts, True, chance.choice(("always", "everysec"))) as pair:
        replica, own = pair.replica, chance.choice(OWN_SHARDS)
        pair.form()
        replica.kill()
        _give_own_data(replica, own, folder)
        pair.others.update(pair.write(pair.primary, b"bulk", BULK, BULK_SIZE))
        pair.begin_load()
        if point == RANDOM:
            replica.launch()
            time.sleep(chance.uniform(0, SECONDS))  # The instant is random: there is no event to wait for.
            replica.kill()
        else:
            replica.environment["SKEIN_KILL_AT"] = "%s:%d" % (point, chance.randint(*times(point)))
            replica.launch()
            pair.await_kill(replica)
        ended = pair.end_load()
        _expect_one_or_the_other(pair, own)
        pair.compare(judge.ALWAYS, ended)
        pair.agree()
        if int(replica.info("server")["storage_shards"]) != pair.shards:
            raise Failure("it agrees, and has %s shards" % replica.info("server")["storage_shards"])
        await_that(lambda: _folders(replica) == ["appendonlydir", "appendonlydir.lock"],
                   "something is left behind: %s" % _folders(replica))
        pair.agree_for_good()


def _give_own_data(replica, shards, folder):
    """What it had got from somebody else, who had so many shards."""
    other = Node(folder / "other", cluster_bootstrap="yes", appendonly="yes", save="", client_loops=2,
                 storage_shards=shards)
    try:
        other.ready()
        with other.client() as client:
            client.pipeline([("SET", "own:%d" % number, "x") for number in range(OWN_KEYS)])
        other.terminate()
    finally:
        other.clean_up()
    shutil.rmtree(replica.folder / "appendonlydir")
    shutil.copytree(other.folder / "appendonlydir", replica.folder / "appendonlydir")
    replica.directives["storage_shards"] = shards


def _expect_one_or_the_other(pair, own):
    """What a start finds while nobody sends it anything."""
    os.kill(pair.primary.process.pid, signal.SIGSTOP)
    try:
        pair.replica.start()
        with pair.replica.client(timeout=30) as client:
            keys = client.call("DBSIZE")
            shards = int(resp.fields(client.call("INFO", "server"))["storage_shards"])
        if _folders(pair.replica) != ["appendonlydir", "appendonlydir.lock"]:
            raise Failure("a start leaves something behind: %s" % _folders(pair.replica))
    finally:
        os.kill(pair.primary.process.pid, signal.SIGCONT)
    old, new = shards == own and keys == OWN_KEYS, shards == pair.shards and keys >= BULK
    if not old and not new:
        raise Failure("a start finds %d keys in %d shards" % (keys, shards))


def _folders(node):
    return sorted(path.name for path in node.folder.iterdir() if path.name.startswith("appendonlydir"))
