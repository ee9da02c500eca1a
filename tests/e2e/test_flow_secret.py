"""cluster-secret on replication: who does not prove that it knows the secret is told nothing."""

import pytest

import harness
import resp
from conftest import skein_only
from test_replication import await_that, caught_up, linked, replication
from test_replication_cluster import replicate, same

pytestmark = skein_only

SECRET, OTHER = "correct-horse-battery-staple", "another-secret-of-some-length"
LOGSYNC = ("LOGSYNC", 1, "a" * 40, "-", 7000, "0/1", 16, "part", 0, "-")


def node(make_node, secret, **directives):
    if secret is not None:
        directives["cluster_secret"] = secret
    return make_node(cluster_enabled="no", client_loops=1, storage_shards=1, **directives).start()


def told(replica, words):
    await_that(lambda: words in replication(replica).get("flow0_error", ""), lambda: replication(replica))
    assert not linked(replica) and replica.call("DBSIZE") == 0


def test_with_the_same_secret_a_replica_follows_and_goes_on(make_node):
    primary, replica = node(make_node, SECRET), node(make_node, (OTHER, SECRET))
    primary.call("SET", "a", "1")
    assert replica.call("REPLICAOF", "127.0.0.1", primary.port) == b"OK"
    told(replica, "NOPERM")  # it proves itself by its first
    assert replica.call("CONFIG", "SET", "cluster-secret", SECRET) == b"OK"
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    assert replica.call("GET", "a") == b"1"
    # Withdrawn at run time it holds for the next flow.
    assert primary.call("CONFIG", "SET", "cluster-secret", OTHER) == b"OK"
    replica.kill()
    replica.start()
    await_that(lambda: not linked(replica))


@pytest.mark.parametrize("ours, theirs, words", [(SECRET, OTHER, "NOPERM"), (SECRET, None, "this node has none"),
                                                 (None, SECRET, "set here and not there")],
                         ids=["wrong", "none", "only-the-replicas"])
def test_without_the_secret_a_replica_is_told_so_and_nothing_else(make_node, ours, theirs, words):
    primary, replica = node(make_node, ours), node(make_node, theirs)
    primary.call("SET", "a", "1")
    replica.call("REPLICAOF", "127.0.0.1", primary.port)
    told(replica, words)
    fields = replication(primary)
    assert fields["connected_slaves"] == "0"
    assert (int(fields["flows_unproven"]) > 0) == (ours is not None)
    assert primary.call("GET", "a") == b"1"


def test_a_challenge_is_for_one_connection_and_one_answer(make_node):
    primary = node(make_node, SECRET)
    with primary.client() as client:
        with pytest.raises(resp.Error, match="NOPERM"):
            client.call("LOGSYNC", "PROVE", "0" * 64, "0" * 64)
        seen = set()
        for proof in ("0" * 64, "x", ""):
            challenge = client.call(*LOGSYNC)
            assert challenge.startswith(b"CHALLENGE 1 ") and len(challenge) == len("CHALLENGE 1 ") + 64
            seen.add(challenge)
            with pytest.raises(resp.Error, match="NOPERM"):
                client.call("LOGSYNC", "PROVE", "0" * 64, proof)
            with pytest.raises(resp.Error, match="NOPERM"):
                client.call("LOGSYNC", "PROVE", "0" * 64, "0" * 64)
        assert len(seen) == 3
        client.call(*LOGSYNC)
    # One that gives up counts as well, once it is gone.
    await_that(lambda: replication(primary)["flows_unproven"] == "4", lambda: replication(primary))
    assert replication(primary)["connected_slaves"] == "0"


def test_in_a_cluster_bus_and_flows_share_the_secret(make_node):
    options = {"client_loops": 2, "storage_shards": 3, "appendonly": "yes", "cluster_secret": SECRET}
    primary = make_node(cluster_bootstrap="yes", **options).start()
    primary.await_state("ok")
    replica = make_node(**options).start()
    harness.meet(replica, primary)
    with primary.client() as client:
        client.pipeline([("SET", "key:%d" % i, "v") for i in range(500)])
    replicate(replica, primary)
    same(primary, replica)
    # A restart asks the replica, with the same proof.
    primary.kill()
    primary.start()
    await_that(lambda: primary.call("SET", "later", "1") == b"OK", lambda: primary.log_text()[-2000:])
    await_that(lambda: linked(replica))
    caught_up(primary, replica)
    assert replication(replica)["flows_unproven"] == "0"
