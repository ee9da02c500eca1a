"""A replica takes over the number of storage shards (and databases) that its primary has, while it runs."""

import pathlib
import shutil

import pytest

import harness
import resp
from conftest import skein_only
from test_replication import Load, await_that, caught_up, linked, replication
from test_replication_cluster import replicate, same

pytestmark = skein_only

KEYS = 2000


def manifest(node):
    return (pathlib.Path(node.folder) / "appendonlydir" / "manifest").read_text()


def shards(node):
    return int(node.info("server")["storage_shards"])


def folders(node):
    return sorted(path.name for path in pathlib.Path(node.folder).iterdir() if path.name.startswith("appendonlydir"))


def in_place(node, count):
    """On disk there is this data set and nothing else."""
    await_that(lambda: folders(node) == ["appendonlydir", "appendonlydir.lock"], lambda: folders(node))
    text = manifest(node)
    assert "inherited" in text
    assert sorted(path.name for path in (pathlib.Path(node.folder) / "appendonlydir").glob("shard-*")) == \
        sorted("shard-%d" % i for i in range(count))


def fill(node, prefix="key", count=KEYS):
    with node.client() as client:
        client.pipeline([("SET", "%s:%d" % (prefix, i), "v%d" % i) for i in range(count)])


def group(make_node, theirs, mine, appendonly="yes", loops=2, **more):
    primary = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=theirs, appendonly=appendonly).start()
    primary.await_state("ok")
    replica = make_node(client_loops=loops, storage_shards=mine, appendonly=appendonly, **more).start()
    meet(replica, primary)
    return primary, replica


def meet(replica, primary, known="2"):
    replica.call("CLUSTER", "MEET", "127.0.0.1", primary.port)
    await_that(lambda: replica.cluster_info()["cluster_known_nodes"] == known and
               replica.cluster_info()["cluster_state"] == "ok")


@pytest.mark.parametrize("appendonly", ["yes", "no"], ids=["appendonly", "memory"])
@pytest.mark.parametrize("mine,theirs,loops", [(2, 4, 2), (4, 1, 3), (3, 2, 1)])
def test_a_replica_takes_over_the_number_of_shards(make_node, mine, theirs, loops, appendonly):
    primary, replica = group(make_node, theirs, mine, appendonly, loops)
    fill(primary)
    clients = [replica.client() for _ in range(6)]
    ids = [client.call("CLIENT", "ID") for client in clients]
    replica.call("CONFIG", "SET", "slowlog-max-len", "77")
    replicate(replica, primary)
    fill(primary, "after")
    same(primary, replica)
    assert shards(replica) == theirs
    assert replica.call("CONFIG", "GET", "storage-shards")[1] == b"%d" % theirs
    assert replica.call("CONFIG", "GET", "client-loops")[1] == b"%d" % loops
    assert replica.call("CONFIG", "GET", "slowlog-max-len")[1] == b"77"
    assert [client.call("CLIENT", "ID") for client in clients] == ids
    assert all("state=connected" in replication(replica)["flow%d" % shard] for shard in range(theirs))
    assert "flow%d" % theirs not in replication(replica)
    assert replica.log_text().count("gives way to the primary's") == 1
    if appendonly == "yes":
        in_place(replica, theirs)
    # Killed, it starts with what it has inherited, whatever is configured, and goes on where it was.
    full = int(primary.info("stats")["sync_full"])
    replica.kill()
    fill(primary, "meanwhile")
    replica.start()
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    same(primary, replica)
    assert shards(replica) == theirs
    if appendonly == "yes":
        assert int(primary.info("stats")["sync_full"]) == full
        assert "storage-shards %d is ignored" % mine in replica.log_text()
        # And serves as a primary of so many.
    replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
    await_that(lambda: replication(replica)["role"] == "master" and linked(primary))
    fill(replica, "own", 200)
    same(replica, primary)
    assert shards(replica) == theirs and replica.call("DBSIZE") == 3 * KEYS + 200


def test_a_failover_to_it_keeps_what_was_written(make_node):
    primary, replica = group(make_node, 4, 2)
    replicate(replica, primary)
    load = Load(primary)
    load.reach(300)
    replica.call("CLUSTER", "FAILOVER")
    await_that(lambda: replication(replica)["role"] == "master" and linked(primary))
    load.stop()
    same(replica, primary)
    replica.terminate()
    replica.start()
    await_that(lambda: shards(replica) == 4)


def test_it_follows_one_after_the_other(make_node):
    """And its own replica, which follows it by hand, with it."""
    first, replica = group(make_node, 4, 2)
    second = make_node(cluster_bootstrap="no", client_loops=2, storage_shards=1, appendonly="yes").start()
    meet(second, first, "3")
    await_that(lambda: replica.cluster_info()["cluster_known_nodes"] == "3")
    slots = range(8000, 8100)
    first.call("CLUSTER", "DELSLOTS", *slots)
    await_that(lambda: second.call("CLUSTER", "ADDSLOTS", *slots) == b"OK")
    for node in (first, second, replica):
        await_that(lambda: node.cluster_info()["cluster_slots_assigned"] == "16384")
    keys = [key for key in ("k%d" % i for i in range(60000)) if harness.key_slot(key) in slots]
    with second.client() as client:
        assert set(client.pipeline([("SET", key, "of second") for key in keys])) == {b"OK"}
    replicate(replica, first)
    assert shards(replica) == 4
    for primary, count in ((second, 1), (first, 4)):
        replicate(replica, primary)
        await_that(lambda: shards(replica) == count)
        await_that(lambda: linked(replica))
        same(primary, replica)
        in_place(replica, count)
    replica.kill()
    replica.start()
    await_that(lambda: linked(replica))
    same(first, replica)


def test_clients_go_on_while_it_changes(make_node):
    """Under load on the replica's side every answer is an answer: the value, or that the node is loading."""
    primary, replica = group(make_node, 4, 2)
    fill(primary)
    with replica.client() as client:
        client.call("READONLY")
        await_that(lambda: replica.call("CLUSTER", "REPLICATE", primary.node_id()) == b"OK")
        seen = set()

        def ask():
            for answer in client.pipeline([("GET", "key:%d" % i) for i in range(0, KEYS, 20)] + [("DBSIZE",)]):
                if isinstance(answer, resp.Error):
                    seen.add(str(answer).split()[0])
            return linked(replica)

        await_that(ask)
        assert seen <= {"LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED"}
        assert client.call("GET", "key:1") == b"v1"


def test_nothing_is_given_up_for_a_primary_that_does_not_send(make_node):
    """What a replica has stays until a primary announces other data; on disk until that is whole."""
    primary, replica = group(make_node, 2, 4)
    fill(primary)
    replicate(replica, primary)
    same(primary, replica)
    in_place(replica, 2)
    third = make_node(client_loops=1, storage_shards=1, appendonly="yes").start()
    meet(third, primary, "3")
    await_that(lambda: replica.cluster_info()["cluster_known_nodes"] == "3")
    third_id = third.node_id()
    third.kill()
    await_that(lambda: replica.call("CLUSTER", "REPLICATE", third_id) == b"OK")
    await_that(lambda: int(replication(replica)["master_port"]) == third.port)
    assert replica.call("DBSIZE") == KEYS and shards(replica) == 2
    replica.kill()
    replica.start()
    assert replica.call("DBSIZE") == KEYS and shards(replica) == 2


def test_more_databases_are_inherited(make_node):
    primary = make_node(cluster_enabled="no", databases=40, appendonly="yes").start()
    replica = make_node(cluster_enabled="no", appendonly="yes").start()
    with primary.client() as client, replica.client() as reader:
        client.call("SELECT", 39)
        client.call("SET", "a", "1")
        replica.call("REPLICAOF", "127.0.0.1", primary.port)
        await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
        caught_up(primary, replica)
        assert reader.call("SELECT", 39) == b"OK" and reader.call("GET", "a") == b"1"
        assert reader.call("CONFIG", "GET", "databases")[1] == b"40"
    replica.kill()
    replica.directives["replicaof"] = ("127.0.0.1", primary.port)
    replica.start()
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    with replica.client() as reader:
        assert reader.call("SELECT", 39) == b"OK" and reader.call("GET", "a") == b"1"


def test_outside_a_cluster_there_is_one_shard(make_node):
    primary = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2).start()
    replica = make_node(cluster_enabled="no").start()
    replica.call("SET", "mine", "1")
    replica.call("REPLICAOF", "127.0.0.1", primary.port)
    await_that(lambda: "exactly one" in replica.log_text())
    assert replica.call("GET", "mine") == b"1" and shards(replica) == 1


def test_a_configured_number_that_differs_is_refused_unless_it_was_inherited(make_node):
    node = make_node(cluster_bootstrap="yes", storage_shards=2, appendonly="yes").start()
    node.call("SET", "a", "1")
    node.terminate()
    node.directives["storage_shards"] = 3
    node.launch()
    assert node.process.wait(30) == 2
    assert "manifest=2, config=3" in node.log_text()


@pytest.mark.parametrize("appendonly", ["yes", "no"], ids=["appendonly", "memory"])
def test_a_primary_that_lost_its_log_takes_its_replicas_number(make_node, appendonly):
    """Else the replicas would take over its own, and its emptiness."""
    primary, replica = group(make_node, 3, 3, appendonly, cluster_replica_no_failover="yes")
    fill(primary)
    replicate(replica, primary)
    same(primary, replica)
    own = replica.node_id().encode()
    await_that(lambda: any(line.startswith(own) and b"slave" in line
                           for line in primary.call("CLUSTER", "NODES").splitlines()))
    primary.kill()
    if appendonly == "yes":
        shutil.rmtree(pathlib.Path(primary.folder) / "appendonlydir")
    primary.directives["storage_shards"] = 2
    primary.start()
    await_that(lambda: primary.call("SET", "late", "1") == b"OK", lambda: primary.log_text()[-3000:])
    assert shards(primary) == 3 and primary.call("DBSIZE") == KEYS + 1
    await_that(lambda: linked(replica))
    same(primary, replica)
    assert shards(replica) == 3
