"""A cluster that speaks IPv6 alone, on ::1: joining, redirections, publishing, a restart."""

import socket

import pytest

import harness
import process
import resp
from conftest import skein_only


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


pytestmark = [skein_only, pytest.mark.skipif(not has_ipv6(), reason="there is no ::1 here")]


class Node(harness.Node):
    def client(self, timeout=10):
        return resp.Client(self.port, host="::1", timeout=timeout)


def addresses(node):
    return {line.split()[1].split("@")[0] for line in node.call("CLUSTER", "NODES").decode().splitlines()}


def test_nodes_meet_and_serve_over_ipv6(tmp_path):
    nodes = [Node(tmp_path / ("node-%d" % index), bind="::1") for index in range(3)]
    try:
        for node, (first, last) in zip(nodes, harness.spread(3)):
            node.start()
            node.call("CLUSTER", "ADDSLOTSRANGE", first, last)
        nodes[0].call("CLUSTER", "MEET", "::1", nodes[1].port)
        nodes[2].call("CLUSTER", "MEET", "::1", nodes[1].port)
        harness.await_whole(nodes)
        everyone = {"::1:%d" % node.port for node in nodes}
        for node in nodes:
            assert addresses(node) == everyone
        home = harness.owner(nodes, "key")
        other = next(node for node in nodes if node is not home)
        with pytest.raises(resp.Error) as error:
            other.call("GET", "key")
        assert str(error.value) == "MOVED %d ::1:%d" % (harness.key_slot("key"), home.port)
        assert harness.run(["redis-cli", "-c", "-h", "::1", "-p", other.port, "set", "key", "value"]).stdout == "OK\n"
        slots = other.call("CLUSTER", "SLOTS")
        assert {row[2][0] for row in slots} == {b"::1"}

        with nodes[2].client() as listener:
            listener.call("SUBSCRIBE", "c")
            nodes[0].call("PUBLISH", "c", "over ::1")
            assert listener.reply() == [b"message", b"c", b"over ::1"]

        nodes[1].kill()
        assert process.wait_until(lambda: nodes[0].cluster_info()["cluster_state"] == "fail", 20)
        nodes[1].start()
        harness.await_whole(nodes)
        assert addresses(nodes[0]) == everyone
    finally:
        for node in nodes:
            node.clean_up()
