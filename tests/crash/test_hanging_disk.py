"""A primary whose disk hangs is failed by the others although its bus answers: who cannot write must not lead."""

import time

import pytest

import harness
import process
from cells import Node
from test_faults import LIBRARY, Disk  # noqa: F401

NODE_TIMEOUT = 1.5


@pytest.fixture
def cluster(tmp_path):
    """Three primaries; the first one's disk does as it is told."""
    folder = tmp_path / "faulty"
    folder.mkdir()
    disk = Disk(folder)
    common = {"appendonly": "yes", "appendfsync": "everysec", "cluster_node_timeout": int(NODE_TIMEOUT * 1000),
              "client_loops": 2, "storage_shards": 2}
    nodes = [Node(tmp_path / "node-0", dir=disk.data, **common)]
    nodes[0].environment.update(disk.environment())
    nodes += [Node(tmp_path / ("node-%d" % index), **common) for index in (1, 2)]
    try:
        for node in nodes:
            node.start()
        harness.form(nodes)
        yield nodes, disk
    finally:
        disk.says()
        for node in nodes:
            node.clean_up()


def flags(node, of):
    for line in node.call("CLUSTER", "NODES").decode().splitlines():
        if line.startswith(of):
            return line.split()[2].split(",")
    return []


def test_a_hanging_disk_is_a_failed_primary(cluster):
    nodes, disk = cluster
    bad = nodes[0].node_id()
    keys = [key for key in ("k%d" % index for index in range(1000)) if harness.owner(nodes, key) is nodes[0]]
    assert nodes[0].call("SET", keys[0], "1") == b"OK"

    # Slow for less than the timeout: nobody minds.
    disk.says("fdatasync delay %d" % int(NODE_TIMEOUT * 500))

    def well():
        for key in keys[:20]:
            nodes[0].call("SET", key, "2")
        return all({"fail", "fail?"}.isdisjoint(flags(node, bad)) for node in nodes[1:])
    assert process.holds_for(well, 3 * NODE_TIMEOUT)

    # A sync that does not return.
    disk.says("fdatasync delay %d" % int(NODE_TIMEOUT * 6000))
    hung = time.monotonic()
    for key in keys[:20]:
        nodes[0].call("SET", key, "3")
    for node in nodes[1:]:
        assert process.wait_until(lambda: "fail" in flags(node, bad), 6 * NODE_TIMEOUT), flags(node, bad)
    # Up to a second until the next sync begins, a quarter of the timeout to notice, the timeout itself.
    assert time.monotonic() - hung < 1 + 2 * NODE_TIMEOUT + 2
    assert "its data plane has stood still" in nodes[1].log_text() + nodes[2].log_text()
    assert nodes[0].call("PING") == b"PONG"

    disk.says()
    harness.await_whole(nodes, timeout=40)
    assert nodes[0].call("GET", keys[0]) == b"3"
