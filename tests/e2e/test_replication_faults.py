"""Flows under TLS, and what happens to them when nodes die in the middle."""

import pytest

import harness
import test_tls
from conftest import skein_only
from test_replication import Load, Wire, await_that, caught_up, content, follow, linked, replication, same

pytestmark = skein_only

ALONE = {"cluster_enabled": "no", "appendonly": "yes"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return test_tls.Site(tmp_path_factory.mktemp("site"))


def filled(node, keys=60000):
    with node.client(timeout=30) as client:
        for start in range(0, keys, 5000):
            client.pipeline([("SET", "static:%d" % (start + k), "v" * 300) for k in range(5000)])
    return node


def test_flows_speak_tls(make_node, site):
    tls_port = harness.free_port()
    primary = make_node(**ALONE, **site.directives(tls_port)).start()
    filled(primary, 20000)
    replica = make_node(**ALONE, **site.directives(harness.free_port(), tls_replication="yes")).start()
    assert replica.call("REPLICAOF", "127.0.0.1", tls_port) == b"OK"
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    load = Load(primary, 3000)
    load.reach(300)
    load.stop()
    with primary.client() as client:
        client.call("SET", "large", "x" * 5000000)
        assert client.call("WAIT", 1, 10000) == 1
    same(primary, replica)
    # One that speaks none is not taken for a primary.
    assert replica.call("REPLICAOF", "127.0.0.1", primary.port) == b"OK"
    await_that(lambda: "TLS" in replication(replica).get("flow0_error", ""), lambda: str(replication(replica)))


def test_a_replica_killed_during_a_full_synchronization_begins_anew(make_node):
    primary = filled(make_node(**ALONE).start())
    replica = make_node(**ALONE, replicaof=["127.0.0.1", primary.port])
    for _ in range(3):
        replica.launch()
        await_that(lambda: "full synchronization with" in replica.log_text().rsplit("ready to accept", 1)[-1])
        replica.kill()
    replica.start()
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    same(primary, replica)
    replica.kill()
    replica.start()
    assert replica.call("DBSIZE") == 60000


def test_a_primary_killed_during_a_full_synchronization_is_followed_when_it_is_back(make_node):
    primary = filled(make_node(**ALONE).start())
    replica = make_node(**ALONE).start()
    replica.call("SET", "own", "x")
    assert replica.call("REPLICAOF", "127.0.0.1", primary.port) == b"OK"
    await_that(lambda: "full synchronization with" in replica.log_text())
    primary.kill()
    primary.start()
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    same(primary, replica)


def test_a_cut_during_a_full_synchronization_begins_it_again(make_node):
    primary = filled(make_node(**ALONE).start())
    replica = make_node(**ALONE).start()
    wire = Wire(primary.port)
    assert replica.call("REPLICAOF", "127.0.0.1", wire.port) == b"OK"
    load = Load(primary)
    for _ in range(3):
        await_that(lambda: replication(replica)["master_sync_in_progress"] == "1" or linked(replica))
        wire.cut()
        await_that(lambda: not linked(replica))
        wire.mend()
    await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    load.stop()
    same(primary, replica)


def test_a_killed_primary_loses_nothing_that_its_replica_then_lacks(make_node):
    """The primary comes back with less than its replica has, whatever the disk kept: they agree in the end."""
    primary, replica = make_node(**ALONE).start(), make_node(**ALONE).start()
    follow(replica, primary)
    load = Load(primary)
    for _ in range(3):
        load.reach(200)
        primary.kill()
        primary.start()
        await_that(lambda: linked(replica), lambda: replica.log_text()[-3000:])
    load.stop()
    same(primary, replica)


def test_rewrites_go_on_under_flows(make_node):
    primary, replica = make_node(**ALONE).start(), make_node(**ALONE).start()
    follow(replica, primary)
    load = Load(primary)
    for node in (primary, replica, primary, replica):
        load.reach(100)
        await_that(lambda: node.call("BGREWRITEAOF").startswith(b"Background"))
        await_that(lambda: node.info("persistence")["aof_rewrite_in_progress"] == "0")
    load.stop()
    same(primary, replica)
    caught_up(primary, replica)
    before = content(replica)
    replica.terminate()
    replica.start()
    assert content(replica) == before
