"""Replica groups as a person runs them: made, grown and shrunk by redis-cli; replicas that move, stand back, or serve."""

import contextlib
import re
import signal

import pytest

import harness
import process
import resp
from conftest import skein_only
from test_failover import redis_cli
from test_replication import await_that, linked, replication
from test_replication_cluster import replicate

pytestmark = skein_only

PATIENCE = 60


def addresses(nodes):
    return ["127.0.0.1:%d" % node.port for node in nodes]


def view(node):
    """{id: (flags, id of its primary or "-", slots)} as a node sees it."""
    seen = {}
    for line in node.call("CLUSTER", "NODES").decode().splitlines():
        words = line.split(" ")
        seen[words[0]] = (set(words[2].split(",")) - {"myself"}, words[3], tuple(words[8:]))
    return seen


def await_agreed(nodes):
    """All see the same nodes in the same roles, nobody as failed, and every replica follows."""
    def agreed():
        views = [view(node) for node in nodes]
        return (all(seen == views[0] for seen in views) and len(views[0]) == len(nodes) and
                not any({"fail", "fail?", "handshake"} & flags for flags, _, _ in views[0].values()) and
                all(node.cluster_info()["cluster_state"] == "ok" for node in nodes) and
                all(replication(node)["role"] == "master" or linked(node) for node in nodes))

    await_that(agreed, lambda: "\n".join(node.call("CLUSTER", "NODES").decode() for node in nodes), PATIENCE)


def primary_of(nodes, replica):
    name = view(replica)[replica.node_id()][1]
    return next((node for node in nodes if node.node_id() == name), None)


def read(node, key):
    """As a client that reads from replicas, too; None if it is refused."""
    with node.client() as client, contextlib.suppress(resp.Error):
        client.call("READONLY")
        return client.call("GET", key)
    return None


@pytest.fixture
def make_groups(make_node):
    """make_groups((2, 1, 0)): three primaries with so many replicas each, as [(primary, [replica, ...]), ...]."""
    def make(sizes, **directives):
        primaries = [make_node(**directives).start() for _ in sizes]
        replicas = [[make_node(**directives).start() for _ in range(size)] for size in sizes]
        harness.form(primaries)
        for primary, its in zip(primaries, replicas):
            for replica in its:
                primaries[0].call("CLUSTER", "MEET", "127.0.0.1", replica.port)
                await_that(lambda: primary.node_id() in view(replica), "they do not meet", PATIENCE)
                replicate(replica, primary)
        await_agreed([*primaries, *(replica for its in replicas for replica in its)])
        return list(zip(primaries, replicas))

    return make


def test_redis_cli_makes_grows_and_shrinks_groups(make_node):
    nodes = [make_node().start() for _ in range(8)]
    at = addresses(nodes)
    group, replica, empty = nodes[:6], nodes[6], nodes[7]
    said = redis_cli("create", *at[:6], "--cluster-replicas", 1, "--cluster-yes")
    assert "All 16384 slots covered" in said, said
    await_agreed(group)
    for index in range(30):
        owner = harness.owner(group[:3], "key:%d" % index)
        assert owner.call("SET", "key:%d" % index, "v") == b"OK"

    said = redis_cli("info", at[4])
    assert "[OK] 30 keys in 3 masters." in said, said
    assert len(re.findall(r"\| 546[0-9] slots \| 1 slaves\.", said)) == 3, said
    said = redis_cli("call", at[0], "CLUSTER", "MYID")
    assert all(node.node_id() in said for node in group), said
    said = redis_cli("call", at[5], "DBSIZE", "--cluster-only-masters")
    assert len(re.findall(r"^127\.0\.0\.1:\d+: \(integer\) \d+$|^127\.0\.0\.1:\d+: \d+$", said, re.M)) == 3, said
    said = redis_cli("check", at[3])
    assert said.count("1 additional replica(s)") == 3, said

    # Without a primary named, redis-cli picks one of those with the fewest replicas.
    said = redis_cli("add-node", at[6], at[0], "--cluster-slave")
    assert "Automatically selected master" in said, said
    await_agreed([*group, replica])
    assert primary_of(group[:3], replica) is not None, view(replica)
    primary = primary_of(group[:3], replica)
    await_that(lambda: replica.call("DBSIZE") == primary.call("DBSIZE"))
    said = redis_cli("check", at[6])
    assert said.count("2 additional replica(s)") == 1 and said.count("1 additional replica(s)") == 2, said

    # A primary that is given slots, emptied again and taken out.
    redis_cli("add-node", at[7], at[0])
    await_agreed([*group, replica, empty])
    first, name = group[0].node_id(), empty.node_id()
    redis_cli("reshard", at[0], "--cluster-from", first, "--cluster-to", name, "--cluster-slots", 3, "--cluster-yes")
    await_agreed([*group, replica, empty])
    assert len(view(group[5])[name][2]) > 0
    refused = harness.run(["redis-cli", "--cluster", "del-node", at[0], name], check=False)
    assert "is not empty" in refused.stdout, refused.stdout
    redis_cli("reshard", at[0], "--cluster-from", name, "--cluster-to", first, "--cluster-slots", 3, "--cluster-yes")
    await_agreed([*group, replica, empty])
    redis_cli("del-node", at[1], name)
    await_agreed([*group, replica])
    assert list(view(empty)) == [empty.node_id()] and empty.call("ROLE")[0] == b"master"

    redis_cli("del-node", at[2], replica.node_id())
    await_agreed(group)
    assert replica.call("DBSIZE") == 0 and replica.call("ROLE")[0] == b"master"
    assert "[OK] 30 keys in 3 masters." in redis_cli("info", at[0])
    assert "All 16384 slots covered" in redis_cli("check", at[5])


def test_a_replica_moves_to_a_primary_that_has_lost_its_own_and_takes_over(make_groups):
    groups = make_groups((2, 1, 0), cluster_node_timeout=2000, cluster_migration_barrier=2)
    (rich, replicas), (orphan, (lost,)), _ = groups
    everybody = [rich, *replicas, orphan, groups[2][0]]
    key = next(key for key in ("k%d" % index for index in range(1000))
               if harness.owner([rich, orphan, groups[2][0]], key) is orphan)
    orphan.call("SET", key, "kept")
    name = lost.node_id()
    lost.kill()

    def moved():
        return [replica for replica in replicas if primary_of(everybody, replica) is orphan]

    # Its primary would keep one, and is to keep two.
    await_that(lambda: "fail" in view(replicas[0])[name][0], "not noticed", PATIENCE)
    assert not process.wait_until(moved, 8)
    for replica in replicas:
        replica.call("CONFIG", "SET", "cluster-migration-barrier", 1)
    await_that(moved, lambda: replicas[0].log_text()[-3000:], PATIENCE)
    mover, = moved()
    await_that(lambda: linked(mover) and all(view(node)[mover.node_id()][1] == orphan.node_id() for node in everybody),
               lambda: mover.log_text()[-3000:], PATIENCE)
    with orphan.client() as client:
        client.call("SET", key, "here")
        assert client.call("WAIT", 1, 10000) == 1
    orphan.kill()
    await_that(lambda: mover.call("ROLE")[0] == b"master" and mover.call("GET", key) == b"here",
               lambda: mover.log_text()[-3000:], PATIENCE)


def test_a_replica_that_must_not_take_over_does_not(make_groups):
    groups = make_groups((1, 0, 0), cluster_node_timeout=1000, cluster_replica_no_failover="yes")
    primary, (replica,) = groups[0]
    others = [other for other, _ in groups[1:]]
    name = primary.node_id()
    assert "nofailover" in " ".join(" ".join(flags) for flags, _, _ in view(others[0]).values())
    primary.kill()
    for node in (replica, *others):
        await_that(lambda: "fail" in view(node)[name][0] and node.cluster_info()["cluster_state"] == "fail",
                   lambda: str(view(node)), PATIENCE)
    assert not process.wait_until(lambda: replica.call("ROLE")[0] == b"master", 4)
    # Told so, it does: nothing but the directive kept it.
    replica.call("CONFIG", "SET", "cluster-replica-no-failover", "no")
    await_that(lambda: replica.call("ROLE")[0] == b"master", lambda: replica.log_text()[-3000:], PATIENCE)
    for node in (replica, *others):
        node.await_state("ok")


def test_a_cluster_that_is_down_serves_reads_if_so_configured(make_groups):
    groups = make_groups((1, 0, 0), cluster_node_timeout=1000)
    primary, (replica,) = groups[0]
    assert primary.call("SET", "ccg", "1") == b"OK"  # slot 3
    with primary.client() as client:
        client.call("SET", "ccg", "2")
        assert client.call("WAIT", 1, 10000) == 1
    for other, _ in groups[1:]:
        other.kill()
    for node in (primary, replica):
        node.await_state("fail")

    for node in (primary, replica):
        assert read(node, "ccg") is None
        with pytest.raises(resp.Error, match="^CLUSTERDOWN The cluster is down$"):
            node.call("GET", "ccg")
        node.call("CONFIG", "SET", "cluster-allow-reads-when-down", "yes")
        await_that(lambda: read(node, "ccg") == b"2", lambda: node.log_text()[-2000:])
    with pytest.raises(resp.Error, match="^CLUSTERDOWN The cluster is down and only accepts read commands$"):
        primary.call("SET", "ccg", "3")
    with pytest.raises(resp.Error, match="^MOVED"):
        primary.call("GET", next("k%d" % i for i in range(1000) if harness.key_slot("k%d" % i) > 12000))


def lose_third_group(groups):
    """It has no replica; the first group has a key, and sees that the third has failed."""
    primary, (replica,) = groups[0]
    with primary.client() as client:
        client.call("SET", "ccg", "1")
        assert client.call("WAIT", 1, 10000) == 1
    lost = groups[2][0]
    name = lost.node_id()
    lost.kill()
    await_that(lambda: "fail" in view(replica)[name][0] and replica.cluster_info()["cluster_state"] == "ok", "not noticed",
               PATIENCE)


def test_what_is_left_is_served_where_a_group_without_a_replica_is_lost(make_groups):
    groups = make_groups((1, 0, 0), cluster_node_timeout=1000, cluster_require_full_coverage="no")
    primary, (replica,) = groups[0]
    lose_third_group(groups)
    for words in (("GET", "ccg"), ("SET", "ccg", "2")):
        await_that(lambda: primary.call(*words), lambda: primary.log_text()[-3000:], PATIENCE)
    await_that(lambda: read(replica, "ccg") == b"2", lambda: replica.log_text()[-3000:], PATIENCE)
    gone = next("k%d" % i for i in range(1000) if harness.key_slot("k%d" % i) > 12000)
    for node in (primary, replica):
        with pytest.raises(resp.Error, match="^CLUSTERDOWN The cluster is down$|^MOVED"):
            node.call("GET", gone)


# Two primaries of three are a majority still: the group that has a replica fails over without the lost one, for the old
# primary yields its place as a voter to the new one.
@pytest.mark.parametrize("by_signal", [False, True], ids=["by_command", "by_sigterm"])
def test_a_failover_by_hand_while_another_group_is_lost(make_groups, by_signal):
    groups = make_groups((1, 0, 0), cluster_node_timeout=1000, cluster_require_full_coverage="no")
    primary, (replica,) = groups[0]
    lose_third_group(groups)
    if by_signal:
        primary.process.send_signal(signal.SIGTERM)
    else:
        assert replica.call("CLUSTER", "FAILOVER") == b"OK"

    def writes():
        with contextlib.suppress(resp.Error):
            return replica.call("SET", "ccg", "2") == b"OK"
        return False

    await_that(writes, lambda: replica.log_text()[-3000:], PATIENCE)
    assert replica.call("GET", "ccg") == b"2"
