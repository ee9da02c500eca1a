"""A fleet of replica groups: primaries with replicas, on the machinery of tests/cluster."""

import contextlib
import pathlib
import shutil
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))
sys.path.insert(0, str(ROOT / "ops" / "lib"))

import digests  # noqa: E402
import disk  # noqa: E402
import fleet as fleets  # noqa: E402
import process  # noqa: E402
import resp  # noqa: E402
from clients import crc16  # noqa: E402
from fleet import PORT, SLOTS, Unexpected  # noqa: E402,F401


def slot_of(tag):
    return crc16(tag.encode()) % SLOTS


class Groups(fleets.Fleet):
    """`primaries` nodes, then `replicas` of each behind them."""

    def __init__(self, folder, net, binary, primaries=3, replicas=1, faulty_disk=None, **options):
        self.primaries, self.replicas = primaries, replicas
        super().__init__(folder, net, binary, primaries * (1 + replicas), **options)
        self.candidates_of = {}
        self.hit = []  # slots whose primary was hit, as (first, last)
        self.excuse = None  # what may be gone after this fault, if that is more than its kind allows
        self.disks = {node: disk.Disk(node, faulty_disk) for node in self.nodes} if faulty_disk else {}

    def addresses(self):
        return [(node.address, PORT) for node in self.nodes]

    def form_groups(self):
        first = self.nodes[:self.primaries]
        for index, node in enumerate(first):
            node.call("CLUSTER", "ADDSLOTSRANGE", SLOTS * index // self.primaries,
                      SLOTS * (index + 1) // self.primaries - 1)
            node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            self.nodes[0].call("CLUSTER", "MEET", self.net.announced(node.index) or node.address, PORT)
        self._await(lambda: all(len(node.view()) == len(self.nodes) for node in self.nodes), 30, "the nodes do not meet")
        for index, node in enumerate(self.nodes[self.primaries:]):
            node.call("CLUSTER", "REPLICATE", first[index % self.primaries].id)
        self.await_well()

    def by_id(self, name):
        return next(node for node in self.nodes if node.id == name)

    def roles(self, witness=None):
        """{primary: [replicas]} as one running node sees it, without those that have failed."""
        groups, followers = {}, []
        witness = witness or next(node for node in self.nodes if node.running())
        for line in witness.call("CLUSTER", "NODES").decode().splitlines():
            words = line.split(" ")
            flags = words[2].split(",")
            if "fail" in flags:
                continue
            if "master" in flags:
                if len(words) > 8:
                    groups.setdefault(self.by_id(words[0]), [])
            else:
                followers.append((self.by_id(words[0]), words[3]))
        for node, primary in followers:
            for other, replicas in groups.items():
                if other.id == primary:
                    replicas.append(node)
        return groups

    def why_not_well(self):
        """What keeps all nodes from being there, agreeing, and every replica from having what its primary has."""
        owners = None
        for node in self.nodes:
            try:
                info = node.cluster_info()
                if info["cluster_state"] != "ok":
                    return "node %d: cluster_state is %s" % (node.index, info["cluster_state"])
                view = node.view()
                state = resp.fields(node.call("INFO", "replication"))
            except (OSError, resp.Error) as error:
                return "node %d: %s" % (node.index, error)
            if any("fail" in flags or "fail?" in flags for _, flags, _, _ in view.values()):
                return "node %d sees somebody as failed" % node.index
            mine = {name: (slots, "slave" in flags) for name, (_, flags, slots, _) in view.items()}
            if owners is not None and mine != owners:
                return "node %d sees other roles or owners" % node.index
            owners = mine
            if state["role"] == "slave" and state["master_link_status"] != "up":
                return "node %d does not follow: %s" % (node.index, state)
        return ""

    def await_well(self, seconds=90):
        began = time.monotonic()
        self._await(lambda: not self.why_not_well(), seconds, None)
        return time.monotonic() - began

    def _await(self, what, seconds, words):
        def holds():
            with contextlib.suppress(OSError, resp.Error, StopIteration):
                return what()
            return False
        if not process.wait_until(holds, seconds, 0.05):
            raise Unexpected(words or self.why_not_well() or "it took too long")

    def await_new_primary(self, old, seconds=60):
        """Who serves what `old` served, once somebody else does."""
        found = []

        def taken():
            for node in self.nodes:
                if node is old or not node.running():
                    continue
                with contextlib.suppress(OSError, resp.Error):
                    for line in node.call("CLUSTER", "NODES").decode().splitlines():
                        words = line.split(" ")
                        if "myself" in words[2] and "master" in words[2] and len(words) > 8 and node in self.candidates:
                            found.append(node)
                            return True
            return False
        self.candidates = self.candidates_of.get(old, [])
        self._await(taken, seconds, "nobody takes over from node %d" % old.index)
        return found[0]

    def pick_primaries(self, count=1):
        """Before a fault: remembers who may take over from whom. Primaries that have a replica, by chance."""
        self.candidates_of = self.roles()
        with_replicas = sorted((node for node, replicas in self.candidates_of.items() if replicas),
                               key=lambda node: node.index)
        return self.random.sample(with_replicas, count)

    def remember_hit(self, node):
        """Of this primary's slots the pause of writers is told."""
        for words in node.view()[node.id][2]:
            first, _, last = words.partition("-")
            self.hit.append((int(first), int(last or first)))

    def fill(self, node, count=20000, size=500):
        """So much data that a snapshot of this primary takes its time."""
        first, last = self.slots_of(node)
        tags = [tag for tag in ("t%d" % number for number in range(10000)) if first <= slot_of(tag) <= last][:8]
        with node.client(timeout=60) as client:
            for start in range(0, count, 2000):
                client.pipeline([("SET", "bulk:{%s}:%d" % (tags[number % len(tags)], number), b"x" * size, "PX",
                                  100000000 + number) for number in range(start, start + 2000)])

    def slots_of(self, node):
        first, _, last = node.view()[node.id][2][0].partition("-")
        return int(first), int(last or first)

    def slots_by_node(self):
        """By node, the slots of its group."""
        told = {}
        for primary, replicas in self.roles().items():
            first, last = self.slots_of(primary)
            told.update({node: range(first, last + 1) for node in (primary, *replicas)})
        return told

    def without_log(self, node):
        """Started anew with nothing: it has to be synchronized as a whole."""
        node.kill()
        shutil.rmtree(node.folder / "appendonlydir")
        node.start().await_start()

    def await_info(self, node, section, field, value, seconds=10):
        """False if the field did not take the value in time, which short work may not be seen to do."""
        def reached():
            with contextlib.suppress(OSError, resp.Error):
                return resp.fields(node.call("INFO", section)).get(field) == value
            return False
        return process.wait_until(reached, seconds, 0.002)

    def digests_by_slot(self, node, primary=None):
        """What the node holds of the slots of its group."""
        first, last = self.slots_of(primary or node)
        with node.client(timeout=30) as client:
            return digests.by_slot(client, range(first, last + 1))

    def await_agreement(self, seconds=30):
        """Primary and replicas hold the same keys, values, expiries and log ends, in every slot. No load runs."""
        found = ["nobody answers"]

        def difference():
            roles = self.roles()
            if sum(1 + len(replicas) for replicas in roles.values()) != len(self.nodes):
                return "not all nodes are there"
            for primary, replicas in roles.items():
                ends = {node: resp.fields(node.call("INFO", "replication")).get(
                    "master_repl_offset" if node is primary else "slave_repl_offset") for node in (primary, *replicas)}
                # Who does not see itself yet as the others do has no such field.
                if len(set(ends.values())) != 1 or None in ends.values():
                    return "the logs of node %d and its replicas end at %s" % (
                        primary.index, ", ".join(map(str, ends.values())))
                whole, held = primary.call("DEBUG", "DIGEST"), self.digests_by_slot(primary)
                for node in replicas:
                    words = digests.difference(held, self.digests_by_slot(node, primary))
                    if words or node.call("DEBUG", "DIGEST") != whole:
                        return "replica %d holds other data than node %d in %s" % (
                            node.index, primary.index, words or "slots that are not theirs")
            return ""

        def agree():
            found[0] = difference()
            return not found[0]
        with contextlib.suppress(Unexpected):
            return self._await(agree, seconds, "they differ")
        raise Unexpected(found[0])
