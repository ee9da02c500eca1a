"""Nodes that find each other by cluster-seeds, and again after all of them came back at other addresses."""

import contextlib

import pytest

import harness
import process
import resp

TIMEOUT_MS = 1000


def known(node, count):
    with contextlib.suppress(OSError, resp.Error):
        lines = node.call("CLUSTER", "NODES").decode().splitlines()
        return len(lines) == count and all(line.split()[7] == "connected" for line in lines)
    return False


def test_nodes_join_without_a_meet_and_move(make_node):
    ports = [harness.free_port() for _ in range(3)]
    seeds = ["localhost:%d" % (port + 10000) for port in ports]
    common = {"cluster_node_timeout": TIMEOUT_MS, "protected_mode": "yes"}
    nodes = [make_node(port=ports[0], cluster_bootstrap="yes", cluster_seeds=seeds, **common).start()]
    nodes += [make_node(port=port, cluster_seeds=seeds, **common).start() for port in ports[1:]]
    for node in nodes:
        assert process.wait_until(lambda: known(node, 3), 20), node.call("CLUSTER", "NODES").decode()
    harness.await_whole(nodes)
    ids = [node.node_id() for node in nodes]
    assert nodes[0].call("CONFIG", "GET", "cluster-seeds")[1].decode().split() == seeds

    # Every node comes back at ports that the others do not know.
    for node in nodes:
        node.terminate()
    ports = [harness.free_port() for _ in range(3)]
    seeds = ["127.0.0.1:%d" % (port + 10000) for port in ports]
    for node, port in zip(nodes, ports):
        node.port = node.directives["port"] = port
        node.directives["cluster_seeds"] = ",".join(seeds)
        node.start()
    for node in nodes:
        assert process.wait_until(lambda: known(node, 3), 30), node.call("CLUSTER", "NODES").decode()
    harness.await_whole(nodes)
    assert [node.node_id() for node in nodes] == ids


def test_seeds_at_run_time_and_what_is_no_seed(make_node):
    first = make_node(cluster_bootstrap="yes").start()
    late = make_node().start()
    assert late.call("CONFIG", "SET", "cluster-seeds", "localhost:%d" % (first.port + 10000)) == b"OK"
    assert process.wait_until(lambda: known(late, 2) and known(first, 2), 20)
    with pytest.raises(resp.Error) as caught:
        late.call("CONFIG", "SET", "cluster-seeds", "localhost:0")
    assert "'localhost:0' has no valid bus port" in str(caught.value)


def test_a_wrong_name_does_not_merge_two_clusters(make_node):
    one = make_node(cluster_bootstrap="yes").start()
    two = make_node(cluster_bootstrap="yes", cluster_seeds="127.0.0.1:%d" % (one.port + 10000)).start()
    assert process.wait_until(lambda: "belongs to another cluster" in two.log_text(), 20), two.log_text()[-2000:]
    for node in (one, two):
        assert node.cluster_info()["cluster_known_nodes"] == "1"
        assert node.cluster_info()["cluster_state"] == "ok"


def test_a_name_for_people_and_a_changed_announcement(make_node):
    one = make_node(cluster_announce_human_nodename="alpha").start()
    two = make_node().start()
    assert one.call("CONFIG", "SET", "cluster-announce-hostname", "one.example") == b"OK"
    harness.form([one, two])

    def line():
        return next(line for line in two.call("CLUSTER", "NODES").decode().splitlines()
                    if line.startswith(one.node_id()))

    assert process.wait_until(lambda: ",one.example " in line(), 10), line()
    assert "(alpha, 127.0.0.1:" in two.log_text()
    assert one.call("CONFIG", "SET", "cluster-announce-hostname", "") == b"OK"
    assert process.wait_until(lambda: ",one.example " not in line(), 10), line()
    with pytest.raises(resp.Error):
        one.call("CONFIG", "SET", "cluster-announce-human-nodename", "a b")
