"""Replicas in a cluster: CLUSTER REPLICATE, several shards, READONLY reads, refusals in words."""

import pytest

import harness
import resp
from conftest import skein_only
from test_replication import Load, await_that, caught_up, linked, replication

pytestmark = skein_only


def contents(node):
    found = {}
    with node.client() as client:
        client.call("READONLY")
        cursor = 0
        while True:
            cursor, keys = client.call("SCAN", cursor, "COUNT", 1000)
            found.update(zip(keys, client.pipeline([("GET", key) for key in keys])))
            cursor = int(cursor)
            if cursor == 0:
                return found


def same(primary, replica):
    caught_up(primary, replica)
    assert contents(primary) == contents(replica)


@pytest.fixture(params=["yes", "no"], ids=["appendonly", "memory"])
def pair(request, make_node):
    """A primary of all slots and a node that knows it."""
    options = {"client_loops": 2, "storage_shards": 3, "appendonly": request.param}
    primary = make_node(cluster_bootstrap="yes", **options).start()
    primary.await_state("ok")
    replica = make_node(**options).start()
    harness.meet(replica, primary)
    return primary, replica


def replicate(replica, primary):
    await_that(lambda: replica.call("CLUSTER", "REPLICATE", primary.node_id()) == b"OK")
    await_that(lambda: linked(replica), lambda: "%s\n%s" % (replication(replica), replica.log_text()[-3000:]))


def test_every_shard_is_followed(pair):
    primary, replica = pair
    with primary.client() as client:
        client.pipeline([("SET", "before:%d" % i, "v%d" % i) for i in range(3000)])
        replicate(replica, primary)
        client.pipeline([("SET", "after:%d" % i, "v%d" % i) for i in range(3000)])
        assert client.call("WAIT", 1, 10000) == 1
    same(primary, replica)
    assert replica.call("DBSIZE") == 6000
    fields = replication(replica)
    assert fields["role"] == "slave" and int(fields["master_port"]) == primary.port
    assert all("state=connected" in fields["flow%d" % shard] for shard in range(3))
    fields = replication(primary)
    assert all("state=online" in fields["slave0_shard%d" % shard] for shard in range(3))


def test_readonly_clients_read_and_others_are_sent_to_the_primary(pair):
    primary, replica = pair
    replicate(replica, primary)
    primary.call("SET", "a", "1")
    caught_up(primary, replica)
    with replica.client() as client:
        with pytest.raises(resp.Error, match="MOVED"):
            client.call("GET", "a")
        client.call("READONLY")
        assert client.call("GET", "a") == b"1"
        with pytest.raises(resp.Error, match="MOVED"):
            client.call("SET", "a", "2")
        with pytest.raises(resp.Error, match="READONLY"):
            client.call("FLUSHALL")
        client.call("READWRITE")
        with pytest.raises(resp.Error, match="MOVED"):
            client.call("GET", "a")


def test_a_restarted_replica_is_one_again(pair):
    primary, replica = pair
    replicate(replica, primary)
    load = Load(primary)
    load.reach(300)
    full = int(primary.info("stats")["sync_full"])
    replica.kill()
    load.reach(300)
    replica.start()
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    load.stop()
    same(primary, replica)
    if replica.directives["appendonly"] == "yes":
        assert int(primary.info("stats")["sync_full"]) == full


def test_a_restarted_primary_is_followed_on(pair):
    primary, replica = pair
    replicate(replica, primary)
    load = Load(primary)
    load.reach(300)
    with primary.client() as client:
        client.send("SHUTDOWN", "NOW")  # without a hand-over
        assert client.at_end()
    assert primary.process.wait(60) == 0
    await_that(lambda: not linked(replica))
    primary.start()
    primary.await_state("ok")
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    load.reach(100)
    load.stop()
    same(primary, replica)


def test_a_primary_that_ends_hands_over_and_follows_when_it_comes_back(pair):
    primary, replica = pair
    replicate(replica, primary)
    with primary.client() as client:
        client.pipeline([("SET", "key:%d" % i, "v") for i in range(1000)])
    primary.terminate()
    assert replica.call("ROLE")[0] == b"master"
    assert replica.call("DBSIZE") == 1000
    replica.call("SET", "later", "1")
    primary.start()
    await_that(lambda: linked(primary), lambda: primary.log_text()[-3000:])
    same(replica, primary)


def test_a_replica_becomes_an_empty_primary_by_reset(pair):
    primary, replica = pair
    replicate(replica, primary)
    with primary.client() as client:
        client.pipeline([("SET", "key:%d" % i, "v") for i in range(100)])
    caught_up(primary, replica)
    assert replica.call("CLUSTER", "RESET") == b"OK"
    await_that(lambda: replication(replica)["role"] == "master", lambda: replica.log_text()[-2000:])
