"""What an operator asks a cluster: CLUSTER EVENTS, SLOT-STATS, LINKS."""

import pytest

import harness
import process
import resp


def error(client, *words):
    with pytest.raises(resp.Error) as caught:
        client.call(*words)
    return str(caught.value)


def maps(reply):
    return [dict(zip(row[0::2], row[1::2])) for row in reply]


def wire(*words):
    return "*%d\r\n" % len(words) + "".join("$%d\r\n%s\r\n" % (len(word), word) for word in words)


def slot_stats(node, *words):
    return {slot: dict(zip(row[0::2], row[1::2])) for slot, row in node.call("CLUSTER", "SLOT-STATS", *words)}


def spans(node):
    mine = node.node_id()
    return [(first, last) for first, last, primary, *_ in node.call("CLUSTER", "SLOTS") if primary[2].decode() == mine]


def test_events_tell_what_happened_newest_first(make_cluster):
    nodes = make_cluster(3)
    harness.await_voters(nodes)
    kinds = [event[b"kind"] for event in maps(nodes[0].call("CLUSTER", "EVENTS"))]
    assert kinds.count(b"join") == 2 and b"state" in kinds and b"epoch" in kinds
    lost = nodes[2].node_id().encode()
    nodes[2].kill()

    def failed():
        return [e for e in maps(nodes[0].call("CLUSTER", "EVENTS", "KIND", "fail")) if lost in e[b"text"]]
    assert process.wait_until(failed, 30), nodes[0].call("CLUSTER", "EVENTS")
    events = maps(nodes[0].call("CLUSTER", "EVENTS", "COUNT", "1000"))
    ids = [event[b"id"] for event in events]
    assert ids == sorted(ids, reverse=True)
    suspected = next(e for e in events if e[b"kind"] == b"suspect" and lost in e[b"text"])
    assert suspected[b"id"] < failed()[0][b"id"]
    assert suspected[b"time"] <= failed()[0][b"time"]
    assert len(nodes[0].call("CLUSTER", "EVENTS", "COUNT", "2")) == 2
    assert nodes[0].call("CLUSTER", "EVENTS", "RESET") == b"OK"
    assert not [e for e in maps(nodes[0].call("CLUSTER", "EVENTS")) if e[b"id"] <= ids[0]]
    with nodes[0].client() as client:
        assert error(client, "CLUSTER", "EVENTS", "KIND", "sneeze") == "ERR Unknown kind of event 'sneeze'"
        assert error(client, "CLUSTER", "EVENTS", "COUNT", "0") == "ERR count should be greater than 0"
        assert error(client, "CLUSTER", "EVENTS", "COUNT") == "ERR syntax error"


def test_slot_stats_count_keys(make_cluster):
    cluster = make_cluster(3)
    key = "{slot-stats}"
    slot = harness.key_slot(key)
    node = harness.owner(cluster, key)
    with node.client() as client:
        for number in range(7):
            client.call("SET", "%s%d" % (key, number), "x")
        assert slot_stats(node, "SLOTSRANGE", slot, slot) == {slot: {b"key-count": 7}}
        rows = node.call("CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "LIMIT", 3, "DESC")
        counts = [row[1][1] for row in rows]
        assert len(rows) == 3 and counts == sorted(counts, reverse=True) and counts[0] >= 7
        least = node.call("CLUSTER", "SLOT-STATS", "ORDERBY", "KEY-COUNT", "LIMIT", 2, "ASC")
        assert [row[1][1] for row in least] == [0, 0] and least[0][0] < least[1][0]
        # Only slots that the node owns, in order.
        owned = [s for first, last in spans(node) for s in range(first, last + 1)]
        everything = [row[0] for row in node.call("CLUSTER", "SLOT-STATS", "SLOTSRANGE", 0, 16383)]
        assert everything == sorted(owned)
        assert error(client, "CLUSTER", "SLOT-STATS", "ORDERBY", "cpu-usec") == \
            "ERR Unrecognized sort metric for ORDERBY."
        assert error(client, "CLUSTER", "SLOT-STATS", "SLOTSRANGE", 5, 4) == \
            "ERR Start slot number 5 is greater than end slot number 4"
        assert error(client, "CLUSTER", "SLOT-STATS", "SLOTSRANGE", 0, 16384) == "ERR Invalid or out of range slot"
        assert error(client, "CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "LIMIT", 0) == \
            "ERR Limit has to lie in between 1 and 16384 (maximum number of slots)."
        assert error(client, "CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "ASC", "DESC") == \
            "ERR Multiple filters of the same type are disallowed."


def test_slot_stats_count_traffic(make_cluster):
    nodes = make_cluster(3, cluster_slot_stats_enabled="yes", client_loops=2, storage_shards=2)
    key = "{traffic}"
    slot = harness.key_slot(key)
    node = harness.owner(nodes, key)
    value = "x" * 1000
    with node.client() as client:
        for _ in range(10):
            assert client.call("SET", key, value) == b"OK"
            assert client.call("GET", key) == value.encode()
        stats = slot_stats(node, "SLOTSRANGE", slot, slot)[slot]
        sent = 10 * (len(wire("SET", key, value)) + len(wire("GET", key)))
        received = 10 * (len("+OK\r\n") + len("$1000\r\n") + 1000 + 2)
        assert stats[b"network-bytes-in"] == sent and stats[b"network-bytes-out"] == received
        assert stats[b"cpu-usec"] > 0 and stats[b"key-count"] == 1
        top = node.call("CLUSTER", "SLOT-STATS", "ORDERBY", "network-bytes-in", "LIMIT", 1)
        assert top[0][0] == slot
        assert client.call("CONFIG", "RESETSTAT") == b"OK"
        assert slot_stats(node, "SLOTSRANGE", slot, slot)[slot][b"network-bytes-in"] == 0
        client.call("CONFIG", "SET", "cluster-slot-stats-enabled", "no")
        assert slot_stats(node, "SLOTSRANGE", slot, slot)[slot] == {b"key-count": 1}


def test_links_show_both_directions(cluster):
    others = {node.node_id().encode() for node in cluster[1:]}
    for direction in (b"to", b"from"):
        links = [link for link in maps(cluster[0].call("CLUSTER", "LINKS")) if link[b"direction"] == direction]
        assert {link[b"node"] for link in links} == others
        for link in links:
            assert link[b"create-time"] > 0 and link[b"closing"] == 0 and link[b"io-jobs"] in (0, 1)
