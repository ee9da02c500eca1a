"""Cluster clients of several languages, unchanged: each writes and reads ten thousand keys."""

import json

import redis
from redis.cluster import ClusterNode, RedisCluster

import harness

COUNT = 10000


def with_node(script, cluster):
    done = harness.run(["node", harness.ROOT / "tests" / "e2e" / "js" / script, *(node.port for node in cluster)],
                       timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


def keys_held(cluster, prefix):
    """How many keys of a prefix each node holds, by the node itself."""
    held = []
    for node in cluster:
        with node.client() as client:
            cursor, found = b"0", set()
            while True:
                cursor, keys = client.call("SCAN", cursor, "MATCH", prefix + "*", "COUNT", 1000)
                found.update(keys)
                if cursor == b"0":
                    break
        for key in found:
            assert harness.owner(cluster, key) is node, key
        held.append(len(found))
    return held


def test_python_redis(cluster):
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", node.port) for node in cluster])
    for first in range(0, COUNT, 500):
        with client.pipeline() as pipeline:
            for index in range(first, first + 500):
                pipeline.set("python:%d" % index, "value %d" % index)
            assert all(pipeline.execute())
    for first in range(0, COUNT, 500):
        with client.pipeline() as pipeline:
            for index in range(first, first + 500):
                pipeline.get("python:%d" % index)
            assert pipeline.execute() == [b"value %d" % index for index in range(first, first + 500)]
    assert client.set("python:one", "1") and client.get("python:one") == b"1"
    assert client.mget_nonatomic("python:1", "python:2", "python:3") == [b"value 1", b"value 2", b"value 3"]
    assert len(client.get_primaries()) == 3
    held = keys_held(cluster, "python:")
    assert sum(held) == COUNT + 1 and all(held)
    client.disconnect_connection_pools()


def test_python_redis_finds_the_owner_with_a_stale_map(cluster):
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", cluster[0].port)])
    # Every slot is thought to be the first node's: each command is redirected.
    first = client.get_node("127.0.0.1", cluster[0].port)
    for slot in range(harness.SLOTS):
        client.nodes_manager.slots_cache[slot] = [first]
    for index in range(200):
        assert client.set("stale:%d" % index, index)
        assert client.get("stale:%d" % index) == b"%d" % index
    client.disconnect_connection_pools()


def test_python_redis_without_a_cluster_client(single):
    client = redis.Redis(port=single.port, decode_responses=True)
    client.mset({"{plain}a": "1", "{plain}b": "2"})
    assert client.mget("{plain}a", "{plain}b", "{plain}c") == ["1", "2", None]
    assert client.incrby("{plain}a", 41) == 42
    assert client.info("server")["redis_version"]
    assert client.config_get("port")["port"] == str(single.port)
    client.close()


def test_ioredis(cluster):
    result = with_node("ioredis.js", cluster)
    assert result["good"] == COUNT
    assert result["nodes"] == 3
    assert result["incremented"] == 1
    assert result["together"] == [None, None]
    assert "CROSSSLOT" in result["crossing"] or "MOVED" in result["crossing"] or "slot" in result["crossing"]
    assert sum(keys_held(cluster, "ioredis:")) == COUNT + 1


def test_glide(cluster):
    result = with_node("glide.js", cluster)
    for protocol in ("resp2", "resp3"):
        assert result[protocol]["good"] == COUNT
        assert result[protocol]["size"] >= COUNT
    assert sum(keys_held(cluster, "glide:")) == 2 * COUNT


def test_node_redis(cluster):
    result = with_node("node_redis.js", cluster)
    assert result == {"good": COUNT, "nodes": 3}
    assert sum(keys_held(cluster, "node-redis:")) == COUNT
