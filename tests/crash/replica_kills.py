"""Kills a primary or its replica at the named places of replication (storage/kill_point.h), under load.

After each kill the node starts again; then the pair agrees on every key, value, expiry and LSN, also once both have been
killed and have read their logs, nothing is gone that was acknowledged under the rule in force, and what a loser had to
give up stands in files that ops/aof reads.
"""

import contextlib
import re
import shutil
import subprocess
import time

import cells
import clients
import digests
import harness
import judge
import process
import resp
from cells import Failure, Node, contents

# Where each of them is met: which of the two dies, and how often at most it comes there before it does.
SYNC, RECORDS, PARTING, PROMOTION, CATCH_UP = "full sync", "records", "parting", "promotion", "catch-up"
PRIMARY, REPLICA = "primary", "replica"
PLACES = {
    "flow.asked": (SYNC, PRIMARY, 1), "flow.base-begun": (SYNC, PRIMARY, 1), "flow.base-piece": (SYNC, PRIMARY, 4),
    "flow.base-sent": (SYNC, PRIMARY, 1), "flow.records-sent": (RECORDS, PRIMARY, 200),
    "flow.parted": (PARTING, REPLICA, 2), "flow.told": (CATCH_UP, REPLICA, 2),
    "follow.answered": (SYNC, REPLICA, 1), "follow.base-": (SYNC, REPLICA, 1),
    "follow.base-piece": (SYNC, REPLICA, 4), "follow.records-taken": (RECORDS, REPLICA, 200),
    "follow.parted": (PARTING, PRIMARY, 2), "follow.set-aside": (PARTING, PRIMARY, 2),
    "follow.cut": (PARTING, PRIMARY, 2), "reload.": (SYNC, REPLICA, 1), "lost.": (PARTING, PRIMARY, 2),
    "cut.": (PARTING, PRIMARY, 2), "reign.": (PROMOTION, REPLICA, 1), "promote.": (PROMOTION, REPLICA, 1),
    "ask.": (CATCH_UP, PRIMARY, 1),
}
# A restarting primary without its log is synchronized by its replica, and begins a reign like one that is promoted.
WIPED = "wiped"
WIPED_PLACES = ("ask.fetching", "follow.base-piece", "reload.listed", "reload.adopted", "promote.reigns-durable")
NODE_TIMEOUT_MS = 1500
SHARDS = 2  # in a cluster
BULK, BULK_SIZE = 2500, 800  # so much that a base comes in several pieces


def place_of(point):
    """(scenario, who dies, most visits), or None."""
    fitting = [prefix for prefix in PLACES if point.startswith(prefix)]
    return PLACES[max(fitting, key=len)] if fitting else None


class Pair:
    """A primary and its replica, both of the real binary, and what clients know of the primary."""

    def __init__(self, folder, chance, counts, clustered, policy):
        self.chance, self.counts, self.clustered, self.policy = chance, counts, clustered, policy
        shards = SHARDS if clustered else 1
        directives = {"appendonly": "yes", "appendfsync": policy, "save": "", "auto_aof_rewrite_percentage": "0",
                      "enable_debug_command": "yes"}
        if clustered:
            directives.update(client_loops=2, storage_shards=shards, cluster_node_timeout=NODE_TIMEOUT_MS,
                              cluster_replica_no_failover="yes")
        else:
            directives.update(cluster_enabled="no", client_loops=1)
        self.shards = shards
        self.primary = Node(folder / "primary", **directives,
                            **({"cluster_bootstrap": "yes"} if clustered else {}))
        self.replica = Node(folder / "replica", **directives)
        self.nodes = (self.primary, self.replica)
        self.states = [clients.ClientState(number, shards, harness.key_slot) for number in range(cells.CLIENTS)]
        tags = clients.tags_of_shards("shared", shards, 1, harness.key_slot)
        self.shared_keys = [b"{%s}" % tags[shard][0] for shard in range(shards)]
        self.shared_values = [0] * shards
        self.others = {}  # what else is there: key: value
        self.writers = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for node in self.nodes:
            node.clean_up()

    # ---- They run, and die ------------------------------------------------------------------------------------------

    def form(self):
        """Both run, the one follows the other."""
        self.primary.start()
        if self.clustered:
            self.primary.await_state("ok")
        self.replica.start()
        self.follow()

    def follow(self):
        if self.clustered:
            self.replica.call("CLUSTER", "MEET", "127.0.0.1", self.primary.port)
            name = self.primary.node_id()
            await_that(lambda: self.replica.call("CLUSTER", "REPLICATE", name) == b"OK", "it may not follow")
            own = self.replica.node_id().encode()
            await_that(lambda: any(own in line and name.encode() in line.split(b" ")[3]
                                   for line in self.primary.call("CLUSTER", "NODES").splitlines()),
                       "the primary does not know its replica")
        else:
            self.replica.directives["replicaof"] = ["127.0.0.1", self.primary.port]
            self.replica.call("REPLICAOF", "127.0.0.1", self.primary.port)
        await_that(lambda: linked(self.replica), "it does not follow")

    def arm(self, node, point, most):
        node.environment["SKEIN_KILL_AT"] = "%s:%d" % (point, self.chance.randrange(1, most + 1))

    def await_kill(self, node):
        point = node.environment.pop("SKEIN_KILL_AT")
        try:
            code = node.wait(30)
        except subprocess.TimeoutExpired:
            raise Failure("it never came to %s" % point) from None
        if code != -9:
            raise Failure("it ended with exit code %d, not by the kill point:\n%s" % (code, node.log_text()[-1500:]))

    # ---- Clients ----------------------------------------------------------------------------------------------------

    def begin_load(self):
        gate = clients.Gate()
        self.writers = [clients.Writer(self.primary.port, state, self.shared_keys, gate, self.chance.random())
                        for state in self.states]
        for writer in self.writers:
            writer.start()
        for writer in self.writers:
            writer.started.wait(30)

    def end_load(self):
        """Clients lose their connections, unless the primary has died. What they know is compared, and kept."""
        ended = time.monotonic()
        if self.primary.is_running():
            self.primary.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for writer in self.writers:
            writer.join(30)
            if writer.is_alive() or writer.error:
                raise Failure("a client failed: %r" % (writer.error or "it still waits"))
        self.writers = []
        return ended

    def compare(self, promise, ended=0.0, node=None):
        """What is there now is what the clients know to be there."""
        found, checked_at = contents(node or self.primary)
        strange = [key for key, value in self.others.items() if found.pop(key, (None,))[0] != value]
        if strange:
            raise Failure("%d keys are lost or wrong, such as %r" % (len(strange), strange[:3]))
        units = [unit for state in self.states for unit in state.units]
        shared = {shard: (key, self.shared_values[shard]) for shard, key in enumerate(self.shared_keys)}
        verdict = judge.judge(units, shared, found, promise, ended, checked_at)
        self.counts.acknowledged += verdict.acknowledged + len(self.others)
        self.counts.missing += verdict.missing
        self.counts.lost += verdict.lost
        if not verdict.ok:
            raise Failure("\n    ".join(verdict.wrong))
        self.shared_values = [int(found[key][0]) if key in found else 0 for key in self.shared_keys]

    def write(self, node, prefix, count=200, size=20):
        with node.client(timeout=30) as client:
            pairs = {b"%s:%d" % (prefix, number): b"%s-%d" % (prefix, number) + b"." * size for number in range(count)}
            for answer in client.pipeline([("SET", *pair) for pair in pairs.items()]):
                if answer != b"OK":
                    raise Failure("a write was answered %r" % answer)
        return pairs

    def load(self, writes=1000):
        """Some load that ends well."""
        self.begin_load()
        if not process.wait_until(lambda: sum(writer.acknowledged for writer in self.writers) >= writes, 60):
            raise Failure("the load stands still")
        self.end_load()
        self.compare(judge.ALWAYS)

    def settle(self):
        """All that the primary has, the replica has on its disk."""
        with self.primary.client(timeout=30) as client:
            # It waits for the shards that this client has written to.
            for key in self.shared_keys:
                client.call("SET", key + b"settled", "yes")
                self.others[key + b"settled"] = b"yes"
            if client.call("WAITAOF", 1, 1, 20000) != [1, 1]:
                raise Failure("the replica does not get it to its disk")

    # ---- They agree ---------------------------------------------------------------------------------------------------

    def agree(self, primary=None, replica=None):
        """Awaits that both hold the same, up to the same LSNs."""
        primary, replica = primary or self.primary, replica or self.replica
        seen = {"words": "one of them does not answer"}

        def equal():
            seen["words"] = ""
            if not linked(replica):
                seen["words"] = "it does not follow: %s" % replica.info("replication")
                return False
            ends = [log_ends(node) for node in (primary, replica)]
            if ends[0] != ends[1]:
                seen["words"] = "the logs end at %s and at %s" % tuple(ends)
            return not seen["words"] and primary.call("DEBUG", "DIGEST") == replica.call("DEBUG", "DIGEST")

        def equal_or_not_yet():
            with contextlib.suppress(OSError, resp.Error):
                return equal()
            return False
        if not process.wait_until(equal_or_not_yet, 30, 0.05):
            raise Failure("they do not agree: %s\n%s" % (seen["words"] or difference(primary, replica),
                                                        replica.log_text()[-1500:]))

    def agree_for_good(self, primary=None, replica=None):
        """They agree, write on, and still do after both have read their logs."""
        primary, replica = primary or self.primary, replica or self.replica
        self.agree(primary, replica)
        self.others.update(self.write(primary, b"later", 50))
        self.agree(primary, replica)
        before, _ = contents(primary)
        for node in (primary, replica):
            await_that(lambda: node.info("persistence")["aof_buffer_length"] == "0", "it does not get to the file")
            node.kill()
        for node in (replica, primary):
            node.launch()
        for node in (primary, replica):
            node.await_start()
        if self.clustered:
            primary.await_state("ok")
        self.agree(primary, replica)
        # Keys end while this is asked.
        if not process.wait_until(lambda: not difference(primary, replica), 10):
            raise Failure("after a restart they differ: %s" % difference(primary, replica))
        after, asked_ms = contents(primary)
        changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key) and
                   not (key not in after and 0 < before[key][1] <= asked_ms + 1000)]
        if changed:
            raise Failure("a restart has changed %d keys, such as %r" % (len(changed), changed[:3]))
        self.counts.rounds += 1


def await_that(what, words, seconds=30):
    def holds():
        with contextlib.suppress(OSError, resp.Error):
            return what()
        return False
    if not process.wait_until(holds, seconds):
        raise Failure(words)


def difference(one, other):
    held = []
    for node in (one, other):
        with node.client(timeout=30) as client:
            held.append(digests.by_slot(client))
    return digests.difference(*held)


def linked(node):
    return node.info("replication").get("master_link_status") == "up"


def log_ends(node):
    state = node.info("persistence")
    return [dict(part.split("=") for part in state[name].split(","))["end"]
            for name in sorted(state) if re.fullmatch(r"aof_shard\d+", name)]


def visit(point, chance, folder, tool, counts):
    """Comes to the point once, and looks at what is left. Raises Failure."""
    if point.startswith(WIPED + ":"):
        _catch_up(point.split(":")[1], PRIMARY, 1, chance, folder, counts, wiped=True)
        return
    scenario, victim, most = place_of(point)
    if scenario == SYNC:
        _full_sync(point, victim, most, chance, folder, counts)
    elif scenario == RECORDS:
        _records(point, victim, most, chance, folder, counts)
    elif scenario == PARTING:
        _parting(point, victim, most, chance, folder, tool, counts)
    elif scenario == PROMOTION:
        _promotion(point, chance, folder, counts)
    else:
        _catch_up(point, victim, most, chance, folder, counts, wiped=chance.random() < 0.3)


def _policy(chance):
    return chance.choice(("always", "everysec"))


def _full_sync(point, victim, most, chance, folder, counts):
    """The replica has other data, or had none; the primary takes writes all the time."""
    # A primary of a cluster whose only replica has a part would wait a node timeout for it to tell what it knows.
    clustered = victim == REPLICA and chance.random() < 0.5
    with Pair(folder, chance, counts, clustered, _policy(chance)) as pair:
        dying = pair.primary if victim == PRIMARY else pair.replica
        if clustered:
            pair.form()
            pair.replica.kill()
            shutil.rmtree(pair.replica.folder / "appendonlydir")
        else:
            if chance.random() < 0.5:
                pair.replica.start()
                pair.write(pair.replica, b"own")
                pair.replica.kill()
            if victim == PRIMARY:
                pair.arm(dying, point, most)
            pair.primary.start()
            pair.replica.directives["replicaof"] = ["127.0.0.1", pair.primary.port]
        pair.others.update(pair.write(pair.primary, b"bulk", BULK, BULK_SIZE))
        pair.begin_load()
        if victim == REPLICA:
            pair.arm(dying, point, most)
        pair.replica.launch()
        pair.await_kill(dying)
        ended = pair.end_load()
        dying.start()
        pair.replica.await_start()
        pair.compare(judge.PROMISES[pair.policy] if victim == PRIMARY else judge.ALWAYS, ended)
        pair.agree_for_good()


def _records(point, victim, most, chance, folder, counts):
    with Pair(folder, chance, counts, chance.random() < 0.5, _policy(chance)) as pair:
        dying = pair.primary if victim == PRIMARY else pair.replica
        pair.arm(dying, point, most)
        pair.form()
        pair.begin_load()
        pair.await_kill(dying)
        ended = pair.end_load()
        dying.start()
        # A replica that has more than the log of its primary gives it back in a cluster, and gives it up outside of one.
        pair.agree()
        pair.compare(judge.PROMISES[pair.policy] if victim == PRIMARY else judge.ALWAYS, ended)
        pair.agree_for_good()


def _parting(point, victim, most, chance, folder, tool, counts):
    """A primary takes writes that nobody else has, dies, and comes back to another one that took writes, too."""
    with Pair(folder, chance, counts, True, _policy(chance)) as pair:
        old, new = pair.primary, pair.replica
        pair.form()
        pair.load()
        pair.settle()
        new.kill()
        given_up = pair.write(old, b"alone", 100)
        await_that(lambda: old.info("persistence")["aof_buffer_length"] == "0", "it does not get to the file")
        old.kill()
        if victim == REPLICA:
            pair.arm(new, point, most)
        else:
            pair.arm(old, point, most)
        new.start()
        await_that(lambda: new.call("CLUSTER", "FAILOVER", "TAKEOVER") == b"OK", "it may not take over")
        await_that(lambda: new.call("SET", "taken-over", "yes") == b"OK", "it does not take over")
        pair.others.update({b"taken-over": b"yes"})
        pair.others.update(pair.write(new, b"after", 100))
        old.launch()
        dying = new if victim == REPLICA else old
        pair.await_kill(dying)
        dying.start()
        old.await_start()
        new.await_state("ok")
        pair.agree(new, old)
        pair.compare(judge.ALWAYS, node=new)
        _expect_kept(old, tool, given_up)
        pair.agree_for_good(new, old)


def _expect_kept(node, tool, given_up):
    """Every record that was given up is in a file that ops/aof reads."""
    said = ""
    for path in sorted(node.folder.glob("lost-records-*.aof")):
        done = subprocess.run([str(tool), "dump", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise Failure("ops/aof dump %s ends with exit code %d: %s" % (path, done.returncode, done.stdout[-500:]))
        said += done.stdout
    missing = [key for key, value in given_up.items() if not re.search(r"\b%s\b.*%s" % (
        re.escape(key.decode()), re.escape(value.decode())), said)]
    if missing:
        raise Failure("%d records that were given up are not kept aside, such as %r; ops/aof says:\n%s" % (
            len(missing), missing[:3], said[:1000]))
    left = [path.name for path in node.folder.glob("lost-records-*.tmp")]
    if left:
        raise Failure("half a file of lost records stays behind: %s" % left)


def _promotion(point, chance, folder, counts):
    clustered = chance.random() < 0.5
    with Pair(folder, chance, counts, clustered, _policy(chance)) as pair:
        primary, replica = pair.nodes
        pair.arm(replica, point, 1)
        pair.form()
        pair.load()
        pair.settle()
        with replica.client(timeout=30) as client, contextlib.suppress(OSError):
            if clustered:
                client.call("CLUSTER", "FAILOVER", "TAKEOVER")
            else:
                client.call("REPLICAOF", "NO", "ONE")
        pair.await_kill(replica)
        if clustered:
            # Nobody had been told of it, or all are: it is one or the other.
            replica.start()
            found = []

            def settled():
                found[:] = sorted(pair.nodes, key=lambda node: node.call("ROLE")[0])
                names = [node.call("CLUSTER", "NODES").split(b"\n") for node in pair.nodes]
                owner = found[0].node_id().encode()
                return linked(found[1]) and all(any(line.startswith(owner) and line.endswith(b" 0-16383") for line in lines)
                                                for lines in names)
            await_that(settled, "they do not settle on one primary")
            primary, replica = found
        else:
            # Whoever asked for it asks again.
            del replica.directives["replicaof"]
            replica.start()
            primary.directives["replicaof"] = ["127.0.0.1", replica.port]
            primary.call("REPLICAOF", "127.0.0.1", replica.port)
            primary, replica = replica, primary
        pair.agree(primary, replica)
        pair.compare(judge.ALWAYS, node=primary)
        pair.agree_for_good(primary, replica)


def _catch_up(point, victim, most, chance, folder, counts, wiped):
    """A primary has lost the tail of its log, or all of it; its replica has everything."""
    with Pair(folder, chance, counts, True, "everysec") as pair:
        primary, replica = pair.nodes
        if victim == REPLICA:
            pair.arm(replica, point, most)
        pair.form()
        pair.others.update(pair.write(primary, b"bulk", BULK, BULK_SIZE))
        pair.load()
        pair.settle()
        sizes = {path: path.stat().st_size for path in newest_incrs(primary, pair.shards)}
        pair.load()
        pair.agree()
        primary.kill()
        if wiped:
            shutil.rmtree(primary.folder / "appendonlydir")
        else:
            for path, size in sizes.items():
                with open(path, "r+b") as file:
                    file.truncate(size)
        dying = replica if victim == REPLICA else primary
        if victim == PRIMARY:
            pair.arm(primary, point, most)
        primary.launch()
        pair.await_kill(dying)
        dying.launch()
        primary.await_start()
        primary.await_state("ok")
        replica.await_start()
        pair.compare(judge.ALWAYS)
        pair.agree_for_good()


def newest_incrs(node, shards):
    for shard in range(shards):
        yield max((node.folder / "appendonlydir" / ("shard-%d" % shard)).glob("incr.*.aof"),
                  key=lambda path: int(path.name.split(".")[1]))
