"""One node alone: out of cluster mode, and as a cluster of one."""

import pytest

import harness
import resp
from conftest import skein_only


def test_without_cluster_every_key_is_served_and_cluster_is_refused(make_node):
    node = make_node(cluster_enabled="no").start()
    with node.client() as client:
        assert client.call("MSET", "a", "1", "b", "2", "c", "3") == b"OK"
        assert client.call("MGET", "a", "b", "c") == [b"1", b"2", b"3"]
        assert client.call("DEL", "a", "b") == 2
        assert client.call("SELECT", "5") == b"OK"
        assert client.call("SET", "a", "in five") == b"OK"
        assert client.call("SELECT", "0") == b"OK"
        assert client.call("GET", "a") is None
        for words in (("INFO",), ("NODES",), ("MEET", "127.0.0.1", "7000"), ("MYID",)):
            with pytest.raises(resp.Error) as caught:
                client.call("CLUSTER", *words)
            assert str(caught.value) == "ERR This instance has cluster support disabled"
        assert "cluster_enabled:0" in client.call("INFO", "cluster").decode()
    assert harness.ports.is_free(node.port + 10000), "a node out of cluster mode has no bus"


@skein_only
def test_bootstrap_gives_a_node_on_an_empty_folder_all_slots(make_node):
    node = make_node(cluster_bootstrap="yes", appendonly="yes").start()
    node.await_state("ok")
    node_id = node.node_id()
    assert harness.slots_by_node(node) == {node_id: "0-16383"}
    node.call("SET", "a", "1")
    assert node.terminate() == 0
    # On a folder that holds an identity it changes nothing.
    node.start()
    node.await_state("ok")
    assert harness.slots_by_node(node) == {node_id: "0-16383"}
    assert node.call("GET", "a") == b"1"


@skein_only
def test_bootstrap_leaves_a_known_node_as_it_was(make_node):
    node = make_node().start()
    node_id = node.node_id()
    node.call("CLUSTER", "ADDSLOTSRANGE", 0, 99)
    node.terminate()
    node.directives["cluster_bootstrap"] = "yes"
    node.start()
    assert harness.slots_by_node(node) == {node_id: "0-99"}


@skein_only
def test_several_shards_need_a_cluster(make_node):
    node = make_node(cluster_enabled="no", storage_shards=2)
    node.launch()
    assert node.wait() == 2
    assert "storage-shards" in node.log_text()
