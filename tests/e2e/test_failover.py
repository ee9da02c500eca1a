"""Replica groups under load and faults, judged by what the clients were told (tests/failover)."""

import subprocess

import harness
import process
import pytest
import resp


@pytest.mark.parametrize("how", [["--fsync", "everysec"], ["--fsync", "always"], ["--wires"]], ids=lambda how: how[-1])
def test_nothing_is_lost_that_must_not_be(how):
    words = [harness.ROOT / "tests" / "failover" / "run", "--short", "--node", harness.BINARY, *how]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400,
                          check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_the_judge_names_every_kind_of_wrong():
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                           harness.ROOT / "tests" / "failover" / "test_history.py"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode()


def redis_cli(*words):
    done = subprocess.run(["redis-cli", "--cluster", *map(str, words)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "[ERR]" not in done.stdout, done.stdout
    return done.stdout


def test_redis_cli_makes_a_cluster_with_replicas_and_changes_it(make_node):
    nodes = [make_node().start() for _ in range(7)]
    at = ["127.0.0.1:%d" % node.port for node in nodes]
    said = redis_cli("create", *at[:6], "--cluster-replicas", 1, "--cluster-yes")
    assert said.count("slots: (0 slots) slave") >= 3 and "All 16384 slots covered" in said, said

    primary, replica = nodes[0], nodes[6]
    redis_cli("add-node", at[6], at[0], "--cluster-slave", "--cluster-master-id", primary.call("CLUSTER", "MYID").decode())

    def follows():
        fields = resp.fields(replica.call("INFO", "replication"))
        return fields["role"] == "slave" and fields["master_link_status"] == "up"
    assert process.wait_until(follows, 30)
    assert "All 16384 slots covered" in redis_cli("check", at[6])
    with primary.client() as client:
        assert client.call("SET", "ccg", "here") == b"OK"  # slot 3
        assert client.call("WAIT", 2, 10000) == 2
    with replica.client() as client:
        with pytest.raises(resp.Error, match="MOVED"):
            client.call("GET", "ccg")
        client.call("READONLY")
        assert client.call("GET", "ccg") == b"here"

    redis_cli("del-node", at[0], replica.call("CLUSTER", "MYID").decode())
    assert process.wait_until(
        lambda: all(len(node.call("CLUSTER", "NODES").decode().splitlines()) == 6 for node in nodes[:6]), 30)


def test_failover_says_no_as_redis_does(make_node):
    alone = make_node(cluster_bootstrap="yes").start()
    for words, error in ((("CLUSTER", "FAILOVER"), "ERR You should send CLUSTER FAILOVER to a replica"),
                         (("CLUSTER", "FAILOVER", "NOW"), "ERR syntax error"),
                         (("CLUSTER", "REPLICATE", "0" * 40), "ERR Unknown node " + "0" * 40),
                         (("CLUSTER", "REPLICATE", alone.call("CLUSTER", "MYID")), "ERR Can't replicate myself")):
        with pytest.raises(resp.Error) as caught:
            alone.call(*words)
        assert str(caught.value) == error


def test_a_replica_that_is_reset_is_empty_and_a_primary(make_node):
    primary, replica = make_node(cluster_bootstrap="yes").start(), make_node().start()
    primary.call("CLUSTER", "MEET", "127.0.0.1", replica.port)
    name = primary.call("CLUSTER", "MYID")

    def linked():
        return resp.fields(replica.call("INFO", "replication")).get("master_link_status") == "up"

    def follow():
        try:
            return replica.call("CLUSTER", "REPLICATE", name) == b"OK"
        except resp.Error:
            return False
    assert process.wait_until(follow, 30) and process.wait_until(linked, 30)
    with primary.client() as client:
        client.pipeline([("SET", "key:%d" % i, "v") for i in range(1000)])
        assert client.call("WAIT", 1, 10000) == 1
    assert replica.call("DBSIZE") == 1000
    assert replica.call("CLUSTER", "RESET") == b"OK"
    assert replica.call("DBSIZE") == 0 and replica.call("ROLE")[0] == b"master"
    assert primary.call("DBSIZE") == 1000
    replica.kill()
    replica.start()
    assert replica.call("DBSIZE") == 0 and replica.call("ROLE")[0] == b"master"
