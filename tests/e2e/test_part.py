"""A replica that has got a part of its primary's data only: what a person may ask of it then, and what is left of that."""

import contextlib

import pytest

import harness
import resp
from conftest import skein_only
from test_replication import Wire, await_that, content, linked, replication, same

pytestmark = skein_only

KEYS = 4000
CARRIED = 1 << 20  # bytes that the wire to the primary carries a flow, of KEYS times 3000


def fill(node, prefix="key", count=KEYS, size=3000):
    with node.client(timeout=30) as client:
        client.pipeline([("SET", "%s:%d" % (prefix, number), "x" * size) for number in range(count)])


def has_a_part(node):
    fields = replication(node)
    return any("whole=0" in value for name, value in fields.items() if name.startswith("flow") and "state=" in value)


class Parted:
    """`replica` had data of its own, and follows `primary` over a wire that stands still in the middle of the base."""

    def __init__(self, make_node, **directives):
        options = {"cluster_enabled": "no", "appendonly": "yes", **directives}
        self.primary, self.replica, self.other = (make_node(**options) for _ in range(3))
        self.primary.start()
        self.replica.start()
        fill(self.primary)
        fill(self.replica, "own", 100, 10)
        self.own = content(self.replica)
        if options["appendonly"] == "no":
            self.replica.call("SAVE")
        self.wire = Wire(self.primary.port)
        self.wire.limit = CARRIED
        assert self.replica.call("REPLICAOF", "127.0.0.1", self.wire.port) == b"OK"
        await_that(lambda: has_a_part(self.replica) and 0 < self.keys() < KEYS, lambda: self.replica.log_text()[-2000:])

    def keys(self):
        """How many keys have come."""
        return int(self.replica.info("keyspace").get("db0", "keys=0").split("keys=")[1].split(",")[0])

    def heal(self):
        self.wire.limit = None


@pytest.fixture(params=["yes", "no"], ids=["appendonly", "memory"])
def parted(request, make_node):
    made = Parted(make_node, appendonly=request.param)
    yield made
    made.heal()


def refused(node, *words, match):
    with pytest.raises(resp.Error, match=match):
        node.call(*words)


def test_nothing_of_it_is_read_or_written(parted):
    for words in (("GET", "key:1"), ("DBSIZE",), ("SCAN", "0"), ("KEYS", "*"), ("RANDOMKEY",)):
        refused(parted.replica, *words, match="LOADING")
    for words in (("SET", "key:1", "x"), ("FLUSHALL",), ("FLUSHDB",), ("FLUSHALL", "ASYNC")):
        refused(parted.replica, *words, match="READONLY")
    parted.heal()
    await_that(lambda: linked(parted.replica), lambda: parted.replica.log_text()[-2000:])
    same(parted.primary, parted.replica)
    assert parted.replica.call("DBSIZE") == KEYS


def test_another_primary_is_followed_instead(parted):
    parted.other.start()
    fill(parted.other, "other", 500, 100)
    assert parted.replica.call("REPLICAOF", "127.0.0.1", parted.other.port) == b"OK"
    await_that(lambda: linked(parted.replica), lambda: parted.replica.log_text()[-2000:])
    same(parted.other, parted.replica)
    assert parted.replica.call("DBSIZE") == 500
    # Nothing that the first one had sent is left, in memory or on disk.
    if parted.replica.directives["appendonly"] == "yes":
        parted.replica.kill()
        parted.replica.start()
        assert parted.replica.call("DBSIZE") == 500


def test_the_first_primary_s_flow_ends_where_another_is_followed(parted):
    parted.other.start()
    assert parted.replica.call("REPLICAOF", "127.0.0.1", parted.other.port) == b"OK"
    await_that(lambda: linked(parted.replica))
    parted.heal()
    await_that(lambda: replication(parted.primary)["connected_slaves"] == "0")
    assert parted.replica.call("DBSIZE") == 0


@pytest.mark.parametrize("how", ["SIGTERM", "SHUTDOWN", "SHUTDOWN NOW", "SIGKILL"])
def test_what_was_there_before_is_there_after_a_restart(make_node, how):
    parted = Parted(make_node)
    end(parted.replica, how)
    parted.replica.start()
    assert content(parted.replica) == parted.own
    # Nor does it take anything from somebody's part.
    assert parted.replica.call("SET", "new", "1") == b"OK"


def end(node, how):
    if how == "SIGKILL":
        return node.kill()
    if how == "SIGTERM":
        assert node.terminate() == 0, node.log_text()[-2000:]
        return None
    with node.client() as client, contextlib.suppress(OSError):
        client.call(*how.split(" "))
    assert node.wait() == 0, node.log_text()[-2000:]
    return None


@pytest.mark.parametrize("how", ["SIGTERM", "SHUTDOWN", "SHUTDOWN SAVE"])
def test_a_part_is_no_rdb_file(make_node, how):
    """What an RDB file holds stays, rather than a part of what is somebody else's."""
    parted = Parted(make_node, appendonly="no", save="3600 1000000")
    refused(parted.replica, "SAVE", match="it is not whole")
    refused(parted.replica, "BGSAVE", match="it is not whole")
    end(parted.replica, how)
    parted.replica.start()
    assert content(parted.replica) == parted.own


def test_a_rewrite_is_refused(make_node):
    parted = Parted(make_node)
    refused(parted.replica, "BGREWRITEAOF", match="being replaced by its primary")
    parted.replica.kill()
    parted.replica.start()
    assert content(parted.replica) == parted.own


def in_cluster(make_node):
    """(primary, replica, the wire between them), the replica with a part."""
    options = {"appendonly": "yes", "client_loops": 2, "storage_shards": 2}
    port = harness.free_port()
    wire = Wire(port)
    primary = make_node(port=port, cluster_bootstrap="yes", cluster_announce_port=wire.port,
                        cluster_announce_bus_port=port + 10000, **options).start()
    primary.await_state("ok")
    fill(primary)
    replica = make_node(**options).start()
    wire.limit = CARRIED
    replica.call("CLUSTER", "MEET", "127.0.0.1", wire.port, port + 10000)
    await_that(lambda: replica.call("CLUSTER", "REPLICATE", primary.node_id()) == b"OK")
    await_that(lambda: has_a_part(replica), lambda: replica.log_text()[-2000:])
    return primary, replica, wire


def test_a_replica_of_a_cluster_follows_another_primary_instead(make_node):
    primary, replica, wire = in_cluster(make_node)
    other = make_node(appendonly="yes", client_loops=2, storage_shards=2).start()
    other.call("CLUSTER", "MEET", "127.0.0.1", replica.port)
    await_that(lambda: replica.call("CLUSTER", "REPLICATE", other.node_id()) == b"OK")
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    assert replica.call("DBSIZE") == 0 and int(replication(replica)["master_port"]) == other.port
    # And back.
    wire.limit = None
    await_that(lambda: replica.call("CLUSTER", "REPLICATE", primary.node_id()) == b"OK")
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    assert replica.call("DBSIZE") == KEYS


@pytest.mark.parametrize("how", ["SOFT", "HARD"])
def test_a_reset_is_refused_and_changes_nothing(make_node, how):
    primary, replica, wire = in_cluster(make_node)
    name = replica.node_id()
    for words in (("CLUSTER", "RESET", how), ("CLUSTER", "FAILOVER", "TAKEOVER"), ("CLUSTER", "FAILOVER", "FORCE"),
                  ("CLUSTER", "FAILOVER")):
        refused(replica, *words, match="in part only")
    for words in (("SET", "{a}", "x"), ("FLUSHALL",)):
        refused(replica, *words, match="READONLY|MOVED")
    assert replica.node_id() == name and replication(replica)["role"] == "slave"
    assert primary.node_id() in replica.call("CLUSTER", "NODES").decode()
    wire.limit = None
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    assert replica.call("DBSIZE") == KEYS
    # Whole, it may be reset.
    assert replica.call("CLUSTER", "RESET", how) == b"OK"
    assert replica.call("DBSIZE") == 0 and replica.call("ROLE")[0] == b"master"
    assert (replica.node_id() == name) == (how == "SOFT")
    assert primary.call("DBSIZE") == KEYS
