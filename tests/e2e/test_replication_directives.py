"""What directives of replication do, one by one."""

import contextlib
import signal

import pytest

import resp
from conftest import skein_only
from test_replication import Load, Wire, await_that, caught_up, follow, linked, replication, same

pytestmark = skein_only


@pytest.fixture
def make(make_node):
    return lambda **directives: make_node(**{"cluster_enabled": "no", "appendonly": "no", **directives})


@contextlib.contextmanager
def frozen(node):
    node.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.process.send_signal(signal.SIGCONT)


def stat(node, name):
    return int(node.info("stats")[name])


def test_a_backlog_that_nobody_needs_is_given_back(make):
    primary, replica = make(repl_backlog_ttl=1).start(), make().start()
    wire = Wire(primary.port)
    replica.call("REPLICAOF", "127.0.0.1", wire.port)
    await_that(lambda: linked(replica))
    primary.call("SET", "a", "x" * 1000)
    caught_up(primary, replica)
    await_that(lambda: replication(primary)["repl_backlog_active"] == "1" and
               int(replication(primary)["repl_backlog_histlen"]) >= 1000, lambda: str(replication(primary)))
    memory = primary.info("memory")
    assert int(memory["mem_replication_backlog"]) >= 1000 and memory["mem_clients_slaves"] == "0"
    assert memory["mem_total_replication_buffers"] == memory["mem_replication_backlog"]
    assert memory["mem_not_counted_for_evict"] == "0"
    full = stat(primary, "sync_full")
    wire.cut()
    await_that(lambda: replication(primary)["repl_backlog_active"] == "0", lambda: str(replication(primary)))
    assert replication(primary)["repl_backlog_histlen"] == "0"
    assert primary.info("memory")["mem_total_replication_buffers"] == "0"
    primary.call("SET", "b", 1)
    wire.mend()
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    same(primary, replica)
    assert stat(primary, "sync_full") == full + 1, "without a log and a backlog nothing else is left"


def test_a_backlog_is_kept_for_ever_if_so_configured(make):
    primary, replica = make(repl_backlog_ttl=0).start(), make().start()
    other = make(repl_backlog_ttl=1).start()
    wires = [Wire(node.port) for node in (primary, other)]
    second = make().start()
    for node, wire in zip((replica, second), wires):
        node.call("REPLICAOF", "127.0.0.1", wire.port)
        await_that(lambda: linked(node))
    for node in (primary, other):
        await_that(lambda: replication(node)["repl_backlog_active"] == "1")
    for wire in wires:
        wire.cut()
    # The other one shows that the time has passed.
    await_that(lambda: replication(other)["repl_backlog_active"] == "0")
    assert replication(primary)["repl_backlog_active"] == "1"


def test_repl_timeout_ends_a_silent_primary_s_flow(make):
    primary, replica = make(repl_ping_replica_period=1).start(), make(repl_timeout=2).start()
    follow(replica, primary)
    with frozen(primary):
        await_that(lambda: not linked(replica))
        assert "nothing was heard of it for repl-timeout" in replica.log_text()
        assert int(replication(replica)["master_link_down_since_seconds"]) >= 0
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    primary.call("SET", "a", 1)
    same(primary, replica)


def test_repl_timeout_ends_a_silent_replica_s_flow(make):
    primary, replica = make(repl_timeout=2).start(), make().start()
    follow(replica, primary)
    with frozen(replica):
        await_that(lambda: replication(primary)["connected_slaves"] == "0")
        assert "nothing was heard of it for repl-timeout" in primary.log_text()
        primary.call("SET", "a", 1)
    await_that(lambda: linked(replica) and replication(primary)["connected_slaves"] == "1",
               lambda: replica.log_text()[-2000:])
    same(primary, replica)


def test_a_replica_is_shown_as_it_announces_itself(make):
    primary = make().start()
    replica = make(replica_announce_ip="192.0.2.7", replica_announce_port=7777).start()
    follow(replica, primary)
    primary.call("SET", "a", 1)
    caught_up(primary, replica)
    assert replication(primary)["slave0"].startswith("ip=192.0.2.7,port=7777,state=online,")
    assert primary.call("ROLE")[2][0][:2] == [b"192.0.2.7", b"7777"]
    other = make().start()
    follow(other, primary)
    assert "ip=127.0.0.1,port=%d,state=online" % other.port in " ".join(
        value for name, value in replication(primary).items() if name.startswith("slave"))


def test_what_waits_for_a_replica_too_long_is_given_up(make):
    primary, replica = make(repl_backlog_size="64kb").start(), make().start()
    follow(replica, primary)
    full, closed = stat(primary, "sync_full"), stat(primary, "client_output_buffer_limit_disconnections")
    primary.call("CONFIG", "SET", "client-output-buffer-limit", "replica 0 100kb 3600")
    with frozen(replica):
        # More than any socket holds.
        with primary.client(timeout=60) as client:
            for start in range(0, 40):
                client.pipeline([("SET", "key:%d" % (start * 100 + number), "x" * 10000) for number in range(100)])
        assert replication(primary)["connected_slaves"] == "1"
        assert stat(primary, "client_output_buffer_limit_disconnections") == closed, "the hour has not passed"
        primary.call("CONFIG", "SET", "client-output-buffer-limit", "replica 0 100kb 1")
        await_that(lambda: stat(primary, "client_output_buffer_limit_disconnections") > closed,
                   lambda: primary.log_text()[-2000:])
    await_that(lambda: linked(replica) and stat(primary, "sync_full") > full, lambda: replica.log_text()[-2000:])
    same(primary, replica)
    assert replica.call("DBSIZE") == 4000


def test_a_replica_that_is_too_late_does_not_count(make):
    primary, replica = make(min_replicas_to_write=1, min_replicas_max_lag=2).start(), make().start()

    def taken():
        try:
            return primary.call("SET", "a", 1) == b"OK"
        except resp.Error as error:
            assert error.code == "NOREPLICAS"
            return False

    follow(replica, primary)
    await_that(taken)
    with frozen(replica):
        await_that(lambda: not taken())
        fields = replication(primary)
        assert fields["connected_slaves"] == "1" and fields["min_slaves_good_slaves"] == "0"
        assert primary.call("GET", "a") == b"1"
        primary.call("CONFIG", "SET", "min-replicas-max-lag", 0)  # as in Redis: no longer asked for
        await_that(taken)
        primary.call("CONFIG", "SET", "min-replicas-max-lag", 2)
        await_that(lambda: not taken())
    await_that(taken)
    same(primary, replica)


def test_a_full_synchronization_waits_for_no_other_replica(make):
    """repl-diskless-sync-delay is taken and gathers nobody: each replica has a snapshot of its own, begun at once."""
    primary = make(repl_diskless_sync_delay=3600).start()
    assert primary.call("CONFIG", "GET", "repl-diskless-sync-delay") == [b"repl-diskless-sync-delay", b"3600"]
    load = Load(primary)
    load.reach(100)
    replicas = [make().start() for _ in range(2)]
    for replica in replicas:
        follow(replica, primary)
    load.stop()
    for replica in replicas:
        same(primary, replica)
    assert stat(primary, "sync_full") == 2
