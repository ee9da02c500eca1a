"""A primary that restarts behind its replicas, or without its log, first takes from them what it lacks."""

import shutil
import time

import pytest

import harness
import resp
from conftest import skein_only
from test_replication import await_that, caught_up, linked, replication
from test_replication_cluster import contents, replicate

pytestmark = skein_only

SHARDS = 3


@pytest.fixture
def pair(request, make_node):
    """A primary of all slots and its replica, which never takes over."""
    options = {"client_loops": 2, "storage_shards": SHARDS, "cluster_replica_no_failover": "yes"}
    options.update(getattr(request, "param", {"appendonly": "yes"}))
    primary = make_node(cluster_bootstrap="yes", **options).start()
    primary.await_state("ok")
    replica = make_node(**options).start()
    harness.meet(replica, primary)
    replicate(replica, primary)
    await_that(lambda: replica.node_id() in persisted(primary))
    return primary, replica


def persisted(node):
    state = (node.folder / "nodes.conf").read_bytes()
    nodes = [line.split() for line in node.call("CLUSTER", "NODES").decode().splitlines()]
    # A record holds the id of the primary that it follows.
    own = bytes.fromhex(node.node_id())
    return [words[0] for words in nodes if words[3] == node.node_id() and state.count(own) > 1]


def write(node, count, prefix, durable=None):
    """`durable`: on so many (this node, replicas) the writes are on disk when it returns."""
    with node.client() as client:
        for answer in client.pipeline([("SET", "%s:%d" % (prefix, i), "%s-%d" % (prefix, i)) for i in range(count)]):
            assert answer == b"OK"
        if durable is not None:
            assert client.call("WAITAOF", *durable, 10000) == list(durable)


def served(node):
    await_that(lambda: node.call("GET", "none") is None and node.call("SET", "none", "1") == b"OK" and
               node.call("DEL", "none") == 1, lambda: node.log_text()[-3000:])


def settled(primary, replica):
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    caught_up(primary, replica)


def newest_incrs(node):
    for shard in range(SHARDS):
        files = sorted((node.folder / "appendonlydir" / ("shard-%d" % shard)).glob("incr.*.aof"),
                       key=lambda path: int(path.name.split(".")[1]))
        yield files[-1]


def test_a_lost_tail_is_fetched_from_the_replica(pair):
    primary, replica = pair
    write(primary, 500, "kept", durable=(1, 1))
    sizes = [path.stat().st_size for path in newest_incrs(primary)]
    write(primary, 2000, "lost")
    settled(primary, replica)
    full = int(primary.info("stats")["sync_full"])
    primary.kill()
    for path, size in zip(newest_incrs(primary), sizes):
        with open(path, "r+b") as file:
            file.truncate(size)
    primary.start()
    served(primary)
    assert "knows more than this primary" in primary.log_text()
    settled(primary, replica)
    found = contents(primary)
    assert len(found) == 2500 and found == contents(replica)
    # The replica kept its log: nothing of it was cut off, nothing was sent anew.
    assert replication(replica)["role"] == "slave" and int(primary.info("stats")["sync_full"]) == 0 < full
    assert not list(replica.folder.glob("**/lost-records-*"))


@pytest.mark.parametrize("pair", [{"appendonly": "no"}, {"appendonly": "yes"}], ids=["memory", "wiped"], indirect=True)
def test_a_primary_without_its_log_takes_the_replicas_data(pair):
    primary, replica = pair
    write(primary, 2000, "key")
    settled(primary, replica)
    primary.kill()
    if primary.directives["appendonly"] == "yes":
        shutil.rmtree(primary.folder / "appendonlydir")
    primary.start()
    served(primary)
    assert len(contents(primary)) == 2000
    settled(primary, replica)
    assert len(contents(replica)) == 2000
    write(primary, 10, "later")
    settled(primary, replica)
    assert contents(primary) == contents(replica)


def test_without_a_replica_it_waits_and_goes_on(pair):
    primary, replica = pair
    write(primary, 100, "key")
    settled(primary, replica)
    replica.kill()
    primary.kill()
    begun = time.monotonic()
    primary.start()
    # Nothing is answered that the replica might know better.
    for words in (("GET", "key:1"), ("SET", "key:1", "x"), ("DBSIZE",)):
        with pytest.raises(resp.Error, match="CLUSTERDOWN"):
            primary.call(*words)
    assert primary.cluster_info()["cluster_state"] == "fail"
    assert replication(primary)["role"] == "master" and replication(primary)["master_catching_up"] == "1"
    served(primary)
    waited = time.monotonic() - begun
    assert 0.8 * harness.NODE_TIMEOUT_MS / 1000 < waited < 5 * harness.NODE_TIMEOUT_MS / 1000, waited
    assert len(contents(primary)) == 100 and replication(primary)["master_catching_up"] == "0"
    replica.start()
    settled(primary, replica)
    assert contents(primary) == contents(replica)


def test_a_replica_that_comes_in_time_is_heard(pair):
    primary, replica = pair
    write(primary, 100, "key", durable=(1, 1))
    replica.kill()
    primary.kill()
    shutil.rmtree(primary.folder / "appendonlydir")
    primary.launch()
    await_that(lambda: replication(primary)["master_catching_up"] == "1")
    replica.start()
    served(primary)
    assert len(contents(primary)) == 100


def test_without_known_replicas_nothing_is_waited_for(make_node):
    primary = make_node(cluster_bootstrap="yes", client_loops=1, storage_shards=2, appendonly="yes",
                        cluster_node_timeout=60000).start()
    primary.await_state("ok")
    write(primary, 10, "key", durable=(1, 0))
    primary.kill()
    primary.start()
    served(primary)
    assert "asking the" not in primary.log_text()
    assert primary.call("DBSIZE") == 10


def test_what_follows_somebody_else_is_not_asked_for_its_data(pair, make_node):
    primary, replica = pair
    other = make_node(client_loops=2, storage_shards=SHARDS, appendonly="yes").start()
    harness.meet(other, primary)
    assert primary.call("CLUSTER", "DELSLOTSRANGE", 0, 99) == b"OK"
    await_that(lambda: other.call("CLUSTER", "ADDSLOTSRANGE", 0, 99) == b"OK")
    # All three agree on that.
    for node in (primary, replica, other):
        await_that(lambda node=node: node.cluster_info()["cluster_state"] == "ok" and
                   ("0-99" in next(line for line in node.call("CLUSTER", "NODES").decode().splitlines()
                                   if other.node_id() in line.split()[0])))
    theirs = next(key for key in ("key:%d" % i for i in range(100000)) if harness.key_slot(key) < 100)
    assert other.call("SET", theirs, "theirs") == b"OK"
    primary.kill()
    await_that(lambda: replica.call("CLUSTER", "REPLICATE", other.node_id()) == b"OK")
    settled(other, replica)
    # It still takes that one for its replica, and has less than that one.
    shutil.rmtree(primary.folder / "appendonlydir")
    primary.start()
    served(primary)
    assert "asking the" in primary.log_text()
    assert primary.call("DBSIZE") == 0 and contents(replica) == contents(other) == {theirs.encode(): b"theirs"}
