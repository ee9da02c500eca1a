"""Replicas outside a cluster: attached, cut, killed, restarted, promoted, chained; what they hold is what their primary holds."""

import socket
import threading

import pytest

import harness
import process
import resp
from conftest import skein_only

pytestmark = skein_only

TIMEOUT = 30


def await_that(what, message="not in time", timeout=TIMEOUT):
    def tried():
        try:
            return what()
        except (OSError, resp.Error):
            return False

    assert process.wait_until(tried, timeout), message() if callable(message) else message


def replication(node):
    return node.info("replication")


def linked(node):
    return replication(node).get("master_link_status") == "up"


def follow(replica, primary):
    assert replica.call("REPLICAOF", "127.0.0.1", primary.port) == b"OK"
    await_that(lambda: linked(replica), lambda: "no link: %s\n%s" % (replication(replica), replica.log_text()[-2000:]))


def caught_up(primary, replica):
    def equal():
        return replication(primary)["master_repl_offset"] == replication(replica)["master_repl_offset"]

    await_that(equal, lambda: "%s\n%s" % (replication(primary), replication(replica)))


def content(node):
    """Everything in database 0, with expiries: what must be the same on both sides."""
    found = {}
    with node.client() as client:
        cursor = 0
        while True:
            cursor, keys = client.call("SCAN", cursor, "COUNT", 1000)
            values = client.pipeline([("GET", key) for key in keys])
            times = client.pipeline([("PEXPIRETIME", key) for key in keys])
            found.update(zip(keys, zip(values, times)))
            cursor = int(cursor)
            if cursor == 0:
                return found


def same(primary, replica):
    caught_up(primary, replica)
    assert content(primary) == content(replica)


class Load(threading.Thread):
    """Writes to a node until it is stopped; a lost connection is made anew."""

    def __init__(self, node, size=100):
        super().__init__(daemon=True)
        self.node, self.size, self.count = node, size, 0
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            try:
                with self.node.client() as client:
                    while not self.ended.is_set():
                        client.call("SET", "key:%d" % (self.count % 5000), ("%d:" % self.count).ljust(self.size, "x"))
                        client.call("INCR", "count")
                        if self.count % 7 == 0:
                            client.call("DEL", "key:%d" % (self.count * 13 % 5000))
                        if self.count % 11 == 0:
                            client.call("PEXPIRE", "key:%d" % (self.count % 5000), 300000)
                        self.count += 1
            except (OSError, resp.Error):
                self.ended.wait(0.01)

    def reach(self, count):
        goal = self.count + count
        await_that(lambda: self.count >= goal, "the load stands still")

    def stop(self):
        self.ended.set()
        self.join(TIMEOUT)


class Wire(threading.Thread):
    """A proxy between a replica and its primary, which can be cut and mended."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.whole = True
        self.limit = None  # bytes that a connection carries each way before it stands still
        self.open = []
        self.start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.whole:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self.open += [near, far]
            threading.Thread(target=self.join_ends, args=(near, far), daemon=True).start()

    def join_ends(self, near, far):
        with near, far:
            back = threading.Thread(target=self.carry, args=(far, near), daemon=True)
            back.start()
            self.carry(near, far)
            back.join()

    def carry(self, source, sink):
        carried = 0
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                carried += len(data)
                process.wait_until(lambda: self.limit is None or carried <= self.limit, 1000)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.whole = False
        for one in self.open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []

    def mend(self):
        self.whole = True


@pytest.fixture(params=["yes", "no"], ids=["appendonly", "memory"])
def make(request, make_node):
    def one(**directives):
        options = {"cluster_enabled": "no", "appendonly": request.param}
        options.update(directives)
        return make_node(**options)

    one.logged = request.param == "yes"
    return one


@pytest.fixture
def make_logged(make_node):
    return lambda **directives: make_node(**{"cluster_enabled": "no", "appendonly": "yes", **directives})


def test_a_replica_holds_what_its_primary_holds(make):
    primary, replica = make().start(), make().start()
    with primary.client() as client:
        for i in range(500):
            client.call("SET", "before:%d" % i, "v%d" % i)
        client.call("SET", "gone", "x", "PX", 1)
        replica.call("SET", "own", "is replaced")
        follow(replica, primary)
        for i in range(500):
            client.call("SET", "after:%d" % i, "v%d" % i)
        client.call("SET", "large", "y" * 3000000)
        client.call("EXPIRE", "after:1", 1000)
        client.call("RENAME", "after:2", "renamed")
        assert client.call("WAIT", 1, 10000) == 1
    same(primary, replica)
    assert replica.call("GET", "own") is None
    assert len(replica.call("GET", "large")) == 3000000
    with pytest.raises(resp.Error, match="READONLY"):
        replica.call("SET", "a", 1)
    with pytest.raises(resp.Error, match="READONLY"):
        replica.call("FLUSHALL")
    kind, offset, replicas = primary.call("ROLE")
    assert kind == b"master" and len(replicas) == 1 and int(replicas[0][1]) == replica.port and offset > 0
    assert replica.call("ROLE")[:4] == [b"slave", b"127.0.0.1", primary.port, b"connected"]
    fields = replication(primary)
    assert fields["connected_slaves"] == "1" and "state=online" in fields["slave0"]
    primary.call("FLUSHALL")
    same(primary, replica)
    assert replica.call("DBSIZE") == 0


def test_a_killed_replica_goes_on_where_its_log_ends(make_logged):
    primary, replica = make_logged().start(), make_logged().start()
    follow(replica, primary)
    load = Load(primary)
    load.reach(500)
    replica.directives["replicaof"] = ["127.0.0.1", primary.port]
    full = int(primary.info("stats")["sync_full"])
    for _ in range(3):
        replica.kill()
        load.reach(300)
        replica.start()
        await_that(lambda: linked(replica))
    load.stop()
    same(primary, replica)
    stats = primary.info("stats")
    assert int(stats["sync_full"]) == full, "a restarted replica begins anew"
    assert int(stats["sync_partial_ok"]) >= 3


def test_a_cut_heals_by_partial_resynchronization(make):
    primary, replica = make(repl_backlog_size="64mb").start(), make().start()
    wire = Wire(primary.port)
    assert replica.call("REPLICAOF", "127.0.0.1", wire.port) == b"OK"
    await_that(lambda: linked(replica))
    full = int(primary.info("stats")["sync_full"])
    load = Load(primary, 2000)
    for _ in range(3):
        load.reach(200)
        wire.cut()
        await_that(lambda: not linked(replica))
        load.reach(200)
        wire.mend()
        await_that(lambda: linked(replica))
    load.stop()
    same(primary, replica)
    assert int(primary.info("stats")["sync_full"]) == full


def test_what_memory_no_longer_has_comes_from_the_files(make_logged):
    primary, replica = make_logged(repl_backlog_size="16kb").start(), make_logged().start()
    wire = Wire(primary.port)
    assert replica.call("REPLICAOF", "127.0.0.1", wire.port) == b"OK"
    await_that(lambda: linked(replica))
    full = int(primary.info("stats")["sync_full"])
    wire.cut()
    await_that(lambda: not linked(replica))
    with primary.client() as client:
        client.pipeline([("SET", "key:%d" % i, "v" * 1000) for i in range(3000)])
    wire.mend()
    await_that(lambda: linked(replica))
    same(primary, replica)
    assert int(primary.info("stats")["sync_full"]) == full
    assert "out of the files" in primary.log_text()


def test_a_full_synchronization_while_writes_go_on(make):
    primary, replica = make().start(), make().start()
    with primary.client() as client:
        for i in range(0, 20000, 1000):
            client.pipeline([("SET", "static:%d" % (i + k), "v" * 200) for k in range(1000)])
    load = Load(primary)
    load.reach(100)
    follow(replica, primary)
    load.reach(100)
    load.stop()
    same(primary, replica)
    if make.logged:
        replica.directives["replicaof"] = ["127.0.0.1", primary.port]
        primary.kill()
        replica.kill()
        replica.start()
        assert replica.call("DBSIZE") > 20000, "what it holds in memory is on its disk"


def test_no_one_makes_a_primary_and_the_old_one_can_follow(make):
    primary, replica = make().start(), make().start()
    follow(replica, primary)
    primary.call("SET", "a", 1)
    caught_up(primary, replica)
    assert replica.call("REPLICAOF", "NO", "ONE") == b"OK"
    assert replica.call("SET", "b", 2) == b"OK"
    assert replica.call("ROLE")[0] == b"master"
    follow(primary, replica)
    replica.call("SET", "c", 3)
    same(replica, primary)
    assert primary.call("GET", "b") == b"2" and primary.call("GET", "a") == b"1"
    assert int(replica.info("stats")["sync_full"]) == 0, "the logs share a point: the old primary has nothing more"
    # What it alone has is lost when it follows again.
    primary.call("REPLICAOF", "NO", "ONE")
    primary.call("SET", "mine", "x")
    replica.call("SET", "d", 4)
    follow(primary, replica)
    same(replica, primary)
    assert primary.call("GET", "mine") is None
    if make.logged:
        assert replication(primary)["lost_records"] == "1"
        kept = list(primary.folder.glob("lost-records-*-shard-0.aof"))
        assert len(kept) == 1 and b"mine" in kept[0].read_bytes()
        assert int(replica.info("stats")["sync_full"]) == 0, "what parted has been cut, not made anew"


def test_a_replica_of_a_replica(make):
    primary, middle, last = make().start(), make().start(), make().start()
    follow(middle, primary)
    load = Load(primary)
    load.reach(50)
    follow(last, middle)
    load.reach(100)
    load.stop()
    same(primary, middle)
    same(primary, last)
    middle.call("REPLICAOF", "NO", "ONE")
    middle.call("SET", "after", 1)
    same(middle, last)


def test_wait_counts_replicas(make):
    primary, replica = make().start(), make().start()
    with primary.client() as client:
        client.call("SET", "a", 1)
        assert client.call("WAIT", 1, 50) == 0
        follow(replica, primary)
        for i in range(50):
            client.call("SET", "a", i)
            assert client.call("WAIT", 1, 10000) == 1
        assert client.call("WAIT", 2, 50) == 1
        if make.logged:
            client.call("SET", "a", "durable")
            assert client.call("WAITAOF", 1, 1, 10000) == [1, 1]
        else:
            client.call("SET", "a", "nowhere")
            assert client.call("WAITAOF", 0, 1, 50) == [0, 0]
    replica.kill()
    await_that(lambda: replication(primary)["connected_slaves"] == "0")
    with primary.client() as client:
        client.call("SET", "a", 2)
        assert client.call("WAIT", 1, 50) == 0


def test_a_waiting_client_is_answered_when_the_replica_gets_on(make):
    primary, replica = make().start(), make().start()
    wire = Wire(primary.port)
    replica.call("REPLICAOF", "127.0.0.1", wire.port)
    await_that(lambda: linked(replica))
    wire.cut()
    await_that(lambda: not linked(replica))
    with primary.client(timeout=TIMEOUT) as client:
        client.call("SET", "a", 1)
        client.send("WAIT", 1, 0)
        await_that(lambda: primary.info("clients")["blocked_clients"] == "1")
        wire.mend()
        assert client.reply() == 1


def test_stale_data_is_refused_if_so_configured(make):
    primary, replica = make().start(), make(replica_serve_stale_data="no").start()
    primary.call("SET", "a", 1)
    follow(replica, primary)
    caught_up(primary, replica)
    assert replica.call("GET", "a") == b"1"
    primary.kill()
    await_that(lambda: not linked(replica))

    def refused():
        try:
            replica.call("GET", "a")
        except resp.Error as error:
            return error.code == "MASTERDOWN"
        return False

    await_that(refused)
    replica.call("CONFIG", "SET", "replica-serve-stale-data", "yes")
    await_that(lambda: replica.call("GET", "a") == b"1")


def test_too_few_replicas_refuse_writes(make):
    primary, replica = make(min_replicas_to_write=1).start(), make().start()

    def writes():
        return primary.call("SET", "a", 1) == b"OK"

    def refuses():
        try:
            writes()
        except resp.Error as error:
            return error.code == "NOREPLICAS"
        return False

    await_that(refuses)
    follow(replica, primary)
    await_that(writes)
    assert replication(primary)["min_slaves_good_slaves"] == "1"
    replica.kill()
    await_that(refuses)


def test_expiry_is_the_primary_s_alone(make):
    primary, replica = make().start(), make().start()
    follow(replica, primary)
    wire = Wire(primary.port)
    replica.call("REPLICAOF", "127.0.0.1", wire.port)
    await_that(lambda: linked(replica))
    primary.call("SET", "short", "x", "PX", 700)
    caught_up(primary, replica)
    wire.cut()
    await_that(lambda: primary.call("EXISTS", "short") == 0)
    # Its time has passed: nobody is shown it, and it is there until the primary says DEL.
    await_that(lambda: replica.call("GET", "short") is None)
    assert replica.call("DBSIZE") == 1
    wire.mend()
    await_that(lambda: replica.call("DBSIZE") == 0)
    same(primary, replica)


def test_a_password_is_asked_for(make):
    primary = make(requirepass="secret").launch()
    replica = make(replicaof=["127.0.0.1", primary.port]).start()
    await_that(lambda: "NOAUTH" in replication(replica).get("flow0_error", ""), lambda: replica.log_text()[-2000:])
    replica.call("CONFIG", "SET", "masterauth", "secret")
    await_that(lambda: linked(replica))
    with primary.client() as client:
        client.call("AUTH", "secret")
        client.call("SET", "a", 1)
    await_that(lambda: replica.call("GET", "a") == b"1")


def test_replicaof_is_remembered_and_refused_where_it_cannot_be(make, make_node):
    primary, replica = make().start(), make().start()
    assert replica.call("REPLICAOF", "127.0.0.1", primary.port) == b"OK"
    assert replica.call("REPLICAOF", "127.0.0.1", primary.port).startswith(b"OK Already")
    assert replica.call("CONFIG", "GET", "replicaof") == [b"replicaof", b"127.0.0.1 %d" % primary.port]
    with pytest.raises(resp.Error, match="Invalid master port"):
        replica.call("REPLICAOF", "127.0.0.1", 70000)
    with pytest.raises(resp.Error, match="integer"):
        replica.call("SLAVEOF", "127.0.0.1", "x")
    await_that(lambda: linked(replica))
    assert replica.call("SLAVEOF", "no", "one") == b"OK"
    assert replica.call("CONFIG", "GET", "replicaof") == [b"replicaof", b""]
    other = make_node(cluster_enabled="yes").start()
    with pytest.raises(resp.Error, match="REPLICAOF not allowed in cluster mode"):
        other.call("REPLICAOF", "127.0.0.1", primary.port)


def clients(node, *words):
    return [dict(field.split("=", 1) for field in line.split(" "))
            for line in node.call("CLIENT", "LIST", *words).decode().splitlines()]


def test_flows_stand_among_the_clients_and_can_be_killed(make_node):
    primary, replica = (make_node(cluster_enabled="no", client_loops=2).start() for _ in range(2))
    follow(replica, primary)
    for node, kind, flag, other in ((primary, "replica", "S", "master"), (replica, "master", "M", "slave")):
        found = clients(node, "TYPE", kind)
        assert len(found) == 1 and all(one["flags"] == flag and one["cmd"] == "logsync" for one in found), found
        assert clients(node, "TYPE", other) == []
        assert {one["id"] for one in found} < {one["id"] for one in clients(node)}
        assert clients(node, "ID", found[0]["id"])[0]["addr"] == found[0]["addr"]
    # The two ends of a connection name each other.
    assert ({(one["addr"], one["laddr"]) for one in clients(primary, "TYPE", "slave")}
            == {(one["laddr"], one["addr"]) for one in clients(replica, "TYPE", "primary")})
    for node, kind in ((primary, "slave"), (replica, "master")):
        before = {one["id"] for one in clients(node, "TYPE", kind)}
        assert node.call("CLIENT", "KILL", "TYPE", kind) == 1
        await_that(lambda: linked(replica) and len(clients(node, "TYPE", kind)) == 1 and
                   not before & {one["id"] for one in clients(node, "TYPE", kind)}, lambda: clients(node))
    primary.call("SET", "a", "1")
    same(primary, replica)
    one = clients(primary, "TYPE", "replica")[0]
    assert primary.call("CLIENT", "KILL", "ADDR", one["addr"]) == 1
    await_that(lambda: linked(replica))
    assert primary.call("CLIENT", "KILL", "ID", 999999) == 0


def test_a_replica_that_has_a_part_is_not_promoted(make_node):
    primary, replica = (make_node(cluster_enabled="no", client_loops=1).start() for _ in range(2))
    with primary.client() as client:
        client.pipeline([("SET", "key:%d" % i, "x" * 10000) for i in range(5000)])
    wire = Wire(primary.port)
    wire.limit = 1 << 20
    replica.call("REPLICAOF", "127.0.0.1", wire.port)
    await_that(lambda: "whole=0" in replication(replica)["flow0"])
    with pytest.raises(resp.Error, match="synchronized in part only"):
        replica.call("REPLICAOF", "NO", "ONE")
    with pytest.raises(resp.Error, match="READONLY|LOADING"):
        replica.call("SET", "a", "1")
    # Nothing of what it did has changed: it goes on following, and is whole in the end.
    assert replication(replica)["role"] == "slave" and int(replication(replica)["master_port"]) == wire.port
    wire.limit = None
    await_that(lambda: linked(replica), lambda: replica.log_text()[-2000:])
    same(primary, replica)
    assert replica.call("REPLICAOF", "NO", "ONE") == b"OK"
    assert replica.call("SET", "a", "1") == b"OK"
