"""What a node answers for a slot that is not its own, not whole, or nobody's."""

import pytest

import harness
import resp


def error(client, *words):
    with pytest.raises(resp.Error) as caught:
        client.call(*words)
    return str(caught.value)


def key_in(first, last, tag="k"):
    return next(key for key in ("%s%d" % (tag, index) for index in range(100000))
                if first <= harness.key_slot(key) <= last)


def test_moved(cluster):
    first, second, third = cluster
    key = key_in(6000, 10000)
    with first.client() as client:
        moved = "MOVED %d 127.0.0.1:%d" % (harness.key_slot(key), second.port)
        assert error(client, "GET", key) == moved
        assert error(client, "SET", key, "x") == moved
        assert error(client, "DEL", key) == moved
        # The connection goes on, and the order of replies holds.
        own = key_in(0, 5000)
        replies = client.pipeline([["SET", own, "1"], ["GET", key], ["GET", own]])
        assert replies[0] == b"OK" and str(replies[1]) == moved and replies[2] == b"1"
    with third.client() as client:
        assert error(client, "GET", own) == "MOVED %d 127.0.0.1:%d" % (harness.key_slot(own), first.port)


def test_crossslot(cluster):
    with cluster[0].client() as client:
        text = "CROSSSLOT Keys in request don't hash to the same slot"
        assert error(client, "MGET", "a", "b") == text
        assert error(client, "MSET", "a", "1", "b", "2") == text
        assert error(client, "DEL", "a", "b", "c") == text
        assert error(client, "RENAME", "a", "b") == text


def test_commands_without_keys_are_served_anywhere(cluster):
    for node in cluster:
        with node.client() as client:
            assert client.call("PING") == b"PONG"
            assert client.call("ECHO", "hello") == b"hello"
            assert client.call("CLUSTER", "KEYSLOT", "{user1000}.following") == 3443
            assert error(client, "SELECT", "1") == "ERR SELECT is not allowed in cluster mode"
            assert client.call("SELECT", "0") == b"OK"


def test_slots_and_shards_agree_with_nodes(cluster):
    ids = {node.node_id(): node for node in cluster}
    assert len(ids) == 3
    for node in cluster:
        spans = node.call("CLUSTER", "SLOTS")
        seen = {}
        for first, last, primary, *replicas in spans:
            assert replicas == []
            assert primary[0] == b"127.0.0.1"
            assert ids[primary[2].decode()].port == primary[1]
            seen[primary[1]] = (first, last)
        assert seen == {each.port: span for each, span in zip(cluster, harness.spread(3))}
        shards = node.call("CLUSTER", "SHARDS")
        assert len(shards) == 3
        for shard in shards:
            shard = dict(zip(shard[::2], shard[1::2])) if isinstance(shard, list) else shard
            member = shard[b"nodes"][0]
            member = dict(zip(member[::2], member[1::2])) if isinstance(member, list) else member
            port = ids[member[b"id"].decode()].port
            assert member[b"port"] == port
            assert member[b"role"] == b"master" and member[b"health"] == b"online"
            assert tuple(shard[b"slots"]) == seen[port]
        links = node.call("CLUSTER", "LINKS")
        assert len(links) == 4


def test_ask_and_tryagain(make_cluster):
    source, target = make_cluster(2)
    slot = harness.key_slot("{m}")
    if harness.owner([source, target], "{m}") is target:
        source, target = target, source
    source.call("SET", "{m}here", "1")
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id())
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id())
    ask = "ASK %d 127.0.0.1:%d" % (slot, target.port)
    with source.client() as client:
        assert client.call("GET", "{m}here") == b"1"
        assert error(client, "GET", "{m}gone") == ask
        assert error(client, "SET", "{m}gone", "1") == ask
        assert error(client, "MGET", "{m}here", "{m}gone").split()[0] == "TRYAGAIN"
        assert error(client, "MGET", "{m}gone", "{m}also") == ask
        with source.client() as other:
            assert "[%d->-%s]" % (slot, target.node_id()) in other.call("CLUSTER", "NODES").decode()
    with target.client() as client:
        moved = "MOVED %d 127.0.0.1:%d" % (slot, source.port)
        assert error(client, "GET", "{m}gone") == moved
        assert client.call("ASKING") == b"OK"
        assert client.call("SET", "{m}gone", "2") == b"OK"
        # ASKING holds for one command.
        assert error(client, "GET", "{m}gone") == moved
        client.call("ASKING")
        assert client.call("GET", "{m}gone") == b"2"
        client.call("ASKING")
        assert error(client, "MGET", "{m}here", "{m}gone").split()[0] == "TRYAGAIN"
    # A primary that still holds keys of the slot does not give it away.
    with source.client() as client:
        assert "still hold keys" in error(client, "CLUSTER", "SETSLOT", slot, "NODE", target.node_id())
        assert client.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        assert client.call("CLUSTER", "GETKEYSINSLOT", slot, 10) == [b"{m}here"]
        assert client.call("DEL", "{m}here") == 1
    target.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id())
    source.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id())
    with source.client() as client:
        assert error(client, "GET", "{m}gone") == "MOVED %d 127.0.0.1:%d" % (slot, target.port)
    assert target.call("GET", "{m}gone") == b"2"
    harness.await_whole([source, target])


def test_slots_that_nobody_serves(make_node):
    node = make_node().start()
    with node.client() as client:
        assert error(client, "GET", "a") in ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN The cluster is down")
        assert node.cluster_info()["cluster_state"] == "fail"
        client.call("CLUSTER", "ADDSLOTSRANGE", 0, 8000)
        outside = key_in(9000, 10000)
        assert error(client, "GET", outside) == "CLUSTERDOWN Hash slot not served"
        assert error(client, "GET", key_in(0, 8000)) == "CLUSTERDOWN The cluster is down"
        assert "already busy" in error(client, "CLUSTER", "ADDSLOTS", 8000)
        client.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        node.await_state("ok")
        assert client.call("SET", key_in(0, 8000), "1") == b"OK"
        assert error(client, "GET", outside) == "CLUSTERDOWN Hash slot not served"
        assert client.call("CLUSTER", "DELSLOTS", 0) == b"OK"
        assert "already unassigned" in error(client, "CLUSTER", "DELSLOTS", 0)
