"""A node of three is lost: the others notice within a bounded time, and all is well when it is back."""

import time

import pytest

import harness
import process
import resp

NODE_TIMEOUT = 1.0


def test_one_of_three_killed_and_back(make_cluster):
    nodes = make_cluster(3, appendonly="yes", appendfsync="always", cluster_node_timeout=int(NODE_TIMEOUT * 1000))
    harness.await_voters(nodes)
    ids = [node.node_id() for node in nodes]
    slots = harness.slots_by_node(nodes[0])
    key = next(key for key in ("k%d" % index for index in range(1000)) if harness.owner(nodes, key) is nodes[1])
    own = next(key for key in ("k%d" % index for index in range(1000)) if harness.owner(nodes, key) is nodes[0])
    assert nodes[1].call("SET", key, "kept") == b"OK"
    assert nodes[0].call("SET", own, "kept") == b"OK"

    nodes[1].kill()
    died = time.monotonic()
    for node in (nodes[0], nodes[2]):
        node.await_state("fail", timeout=10 * NODE_TIMEOUT)
    noticed = time.monotonic() - died
    # Suspicion after one node timeout, agreement within another; the rest is a busy machine's.
    assert noticed < 2 * NODE_TIMEOUT + 2, noticed
    line = next(line for line in nodes[2].call("CLUSTER", "NODES").decode().splitlines() if line.startswith(ids[1]))
    assert "master,fail " in line and line.split()[7] == "disconnected"
    for words in (("SET", own, "x"), ("GET", own), ("GET", key)):
        with pytest.raises(resp.Error) as caught:
            nodes[0].call(*words)
        assert str(caught.value) == "CLUSTERDOWN The cluster is down"

    nodes[1].start()
    harness.await_whole(nodes)
    assert [node.node_id() for node in nodes] == ids
    for node in nodes:
        assert harness.slots_by_node(node) == slots
    assert nodes[1].call("GET", key) == b"kept"
    assert nodes[0].call("GET", own) == b"kept"


def test_the_rest_is_served_without_full_coverage(make_cluster):
    nodes = make_cluster(3, cluster_node_timeout=int(NODE_TIMEOUT * 1000), cluster_require_full_coverage="no")
    harness.await_voters(nodes)
    own = next(key for key in ("k%d" % index for index in range(1000)) if harness.owner(nodes, key) is nodes[0])
    lost = next(key for key in ("k%d" % index for index in range(1000)) if harness.owner(nodes, key) is nodes[2])
    lost_id = nodes[2].node_id()
    nodes[2].kill()

    def failed():
        return any(line.startswith(lost_id) and "fail " in line.replace("fail?", "pfail_")
                   for line in nodes[0].call("CLUSTER", "NODES").decode().splitlines())

    assert process.wait_until(failed, 10 * NODE_TIMEOUT)
    nodes[0].await_state("ok")
    assert nodes[0].call("SET", own, "1") == b"OK"
    with pytest.raises(resp.Error) as caught:
        nodes[0].call("GET", lost)
    assert str(caught.value).split()[0] in ("MOVED", "CLUSTERDOWN")


def test_the_majority_lost_stops_the_minority(make_cluster):
    nodes = make_cluster(3, cluster_node_timeout=int(NODE_TIMEOUT * 1000), cluster_require_full_coverage="no")
    harness.await_voters(nodes)
    own = next(key for key in ("k%d" % index for index in range(1000)) if harness.owner(nodes, key) is nodes[0])
    nodes[1].kill()
    nodes[2].kill()
    nodes[0].await_state("fail", timeout=10 * NODE_TIMEOUT)
    with pytest.raises(resp.Error) as caught:
        nodes[0].call("SET", own, "x")
    assert str(caught.value).split()[0] == "CLUSTERDOWN"
    nodes[1].start()
    nodes[0].await_state("ok", timeout=20)
    assert nodes[0].call("SET", own, "x") == b"OK"


def test_forgotten_nodes_stay_away(make_cluster):
    nodes = make_cluster(3)
    gone = nodes[2].node_id()
    nodes[2].kill()
    for node in nodes[:2]:
        assert node.call("CLUSTER", "FORGET", gone) == b"OK"

    def known():
        return [node.cluster_info()["cluster_known_nodes"] for node in nodes[:2]]

    # Neither tells the other of it again.
    assert process.holds_for(lambda: known() == ["2", "2"], 1.5), known()
    with pytest.raises(resp.Error):
        nodes[0].call("CLUSTER", "FORGET", nodes[0].node_id())
    with pytest.raises(resp.Error):
        nodes[0].call("CLUSTER", "FORGET", "0" * 40)
