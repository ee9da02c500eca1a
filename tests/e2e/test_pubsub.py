"""Publish and subscribe: as redis-server does it byte by byte, with real clients, across nodes, and under a flood."""

import contextlib
import socket
import subprocess
import threading
import time

import pytest

import harness
import process
import resp
from conftest import skein_only
from test_replication_cluster import replicate

REDIS = "redis-server"

# What one client says and hears, all of it: (words to send, replies to read).
CONVERSATION = (
    (("UNSUBSCRIBE",), 1), (("PUNSUBSCRIBE",), 1), (("SUNSUBSCRIBE",), 1), (("UNSUBSCRIBE", "a", "b"), 2),
    (("SUBSCRIBE",), 1), (("SUBSCRIBE", "a", "b", "a"), 3), (("PSUBSCRIBE", "x*", ""), 2), (("PING",), 1),
    (("PING", "word"), 1), (("PING", "too", "many"), 1), (("GET", "k"), 1), (("CONFIG", "GET", "k"), 1),
    (("PUBSUB", "NUMPAT"), 1), (("NOSUCH", "x"), 1), (("GET",), 1), (("SSUBSCRIBE", "s"), 1),
    (("UNSUBSCRIBE", "a", "nothing"), 2), (("PUNSUBSCRIBE", "x*"), 1), (("PUNSUBSCRIBE", ""), 1),
    (("SUNSUBSCRIBE", "s"), 1), (("UNSUBSCRIBE",), 1), (("ECHO", "free"), 1), (("SUBSCRIBE", "again"), 1),
    (("RESET",), 1), (("ECHO", "free"), 1),
    (("PUBLISH", "nobody", "x"), 1), (("PUBLISH", "x"), 1), (("PUBSUB",), 1), (("PUBSUB", "NOSUCH"), 1),
    (("PUBSUB", "CHANNELS", "a", "b"), 1), (("PUBSUB", "NUMSUB"), 1), (("PUBSUB", "NUMSUB", "a"), 1),
    (("PUBSUB", "CHANNELS"), 1), (("PUBSUB", "SHARDCHANNELS"), 1), (("PUBSUB", "SHARDNUMSUB", "a", "b"), 1),
    (("PUBSUB", "HELP"), 1),
    (("SUBSCRIBE", "last"), 1), (("QUIT",), 1),
)


def raw_reply(client):
    """The bytes of the next reply."""
    start = bytearray()

    def line():
        text = client._line()  # pylint: disable=protected-access
        start.extend(text + b"\r\n")
        return text

    def one():
        head = line()
        if head[:1] in (b"$", b"=") and head[1:] != b"-1":
            start.extend(client._exactly(int(head[1:])) + b"\r\n")  # pylint: disable=protected-access
        elif head[:1] in (b"*", b">", b"~"):
            for _ in range(max(0, int(head[1:]))):
                one()
        elif head[:1] == b"%":
            for _ in range(2 * int(head[1:])):
                one()
    one()
    return bytes(start)


def speak(port, version):
    heard = []
    with resp.Client(port) as client:
        if version == 3:
            client.call("HELLO", 3)
        for words, replies in CONVERSATION:
            client.send(*words)
            heard.append((words, sorted(raw_reply(client) for _ in range(replies))))
    return heard


@pytest.mark.parametrize("version", [2, 3])
def test_says_what_redis_says(make_node, tmp_path, version):
    node = make_node(cluster_enabled="no").start()
    port = harness.free_port()
    with subprocess.Popen([REDIS, "--port", str(port), "--save", "", "--dir", str(tmp_path)],
                          stdout=subprocess.DEVNULL) as redis:
        try:
            def serves():
                with contextlib.suppress(OSError):
                    return resp.Client(port).call("PING") == b"PONG"
                return False
            assert process.wait_until(serves, 10)
            expected, ours = speak(port, version), speak(node.port, version)
        finally:
            redis.terminate()
    assert ours == expected


def test_python_client(make_cluster):
    redis = pytest.importorskip("redis")
    nodes = make_cluster(3, client_loops=2, storage_shards=2)
    listeners = []
    for node in nodes:
        client = redis.Redis(port=node.port, decode_responses=True)
        listener = client.pubsub(ignore_subscribe_messages=True)
        listener.subscribe("news")
        listener.psubscribe("n?ws")
        listener.get_message(timeout=5)
        listener.get_message(timeout=5)
        listeners.append(listener)
    publisher = redis.RedisCluster(port=nodes[0].port, host="127.0.0.1")
    # Only the clients of the node that was asked are counted, as in Redis.
    assert publisher.execute_command("PUBLISH", "news", "hello", target_nodes=publisher.get_random_node()) == 2
    for listener in listeners:
        heard = []
        assert process.wait_until(lambda: heard.append(listener.get_message(timeout=1)) or
                                  len([m for m in heard if m]) == 2, 10)
        kinds = sorted((m["type"], m["pattern"], m["channel"], m["data"]) for m in heard if m)
        assert kinds == [("message", None, "news", "hello"), ("pmessage", "n?ws", "news", "hello")]


@skein_only
def test_redis_cli_subscribes(make_cluster):
    nodes = make_cluster(2)
    with subprocess.Popen(["redis-cli", "-p", str(nodes[1].port), "subscribe", "c"], stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True) as listener:
        try:
            assert process.wait_until(lambda: nodes[1].call("PUBSUB", "NUMSUB", "c") == [b"c", 1], 10)
            assert harness.run(["redis-cli", "-p", nodes[0].port, "publish", "c", "over the bus"]).stdout.strip() == "0"
            heard = [listener.stdout.readline().strip() for _ in range(6)]
        finally:
            listener.terminate()
    assert heard == ["subscribe", "c", "1", "message", "c", "over the bus"]
    info = nodes[0].cluster_info()
    assert info["cluster_stats_messages_publish_sent"] == "1"
    assert nodes[1].cluster_info()["cluster_stats_messages_publish_received"] == "1"
    links = [dict(zip(link[::2], link[1::2])) for link in nodes[0].call("CLUSTER", "LINKS")]
    assert sorted((link[b"class"], link[b"direction"]) for link in links) == [
        (b"control", b"from"), (b"control", b"to"), (b"publish", b"to")]


@skein_only
def test_long_messages_and_order_across_nodes(make_cluster):
    nodes = make_cluster(3, client_loops=2, storage_shards=2)
    with nodes[2].client(30) as listener, nodes[0].client(30) as publisher:
        listener.call("SUBSCRIBE", "c")
        sizes = [0, 1, 70000, 3_000_000, 5, 65536, 65537, 1_000_000]
        messages = [b"%d:" % number + b"x" * size for number, size in enumerate(sizes)]
        publisher.pipeline([("PUBLISH", "c", message) for message in messages])
        assert [listener.reply() for _ in messages] == [[b"message", b"c", message] for message in messages]


@skein_only
def test_a_slot_that_moves_takes_its_shard_channels_along(make_cluster):
    nodes = make_cluster(2)
    channel = "{here}c"
    slot = harness.key_slot(channel)
    home = harness.owner(nodes, channel)
    other = next(node for node in nodes if node is not home)
    with home.client() as listener:
        assert listener.call("SSUBSCRIBE", channel) == [b"ssubscribe", channel.encode(), 1]
        with pytest.raises(resp.Error) as error:
            other.call("SPUBLISH", channel, "x")
        assert str(error.value) == "MOVED %d 127.0.0.1:%d" % (slot, home.port)
        assert home.call("SPUBLISH", channel, "m") == 1
        assert listener.reply() == [b"smessage", channel.encode(), b"m"]
        for node in nodes:
            node.call("CLUSTER", "SETSLOT", slot, "NODE", other.node_id())
        assert listener.reply() == [b"sunsubscribe", channel.encode(), 0]
        with pytest.raises(resp.Error) as error:
            listener.call("SSUBSCRIBE", channel)
        assert str(error.value) == "MOVED %d 127.0.0.1:%d" % (slot, other.port)
    assert home.info("stats")["pubsubshard_channels"] == "0"


class SlowPath:
    """Stands in the path to a bus: control connections pass; published bytes pass at a trickle."""

    def __init__(self, target, rate):
        self.target, self.rate = target, rate
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        self.slow = 0
        self.ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.ended:
            try:
                client, _ = self.listener.accept()
                # The Hello: a header of 16 bytes, versions in 4, then flags.
                hello = client.recv(24, socket.MSG_WAITALL | socket.MSG_PEEK)
                slow = len(hello) == 24 and hello[20] & 2 != 0
                self.slow += slow
                if slow:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                server = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                continue
            self.sockets += [client, server]
            threading.Thread(target=self._pump, args=(client, server, slow), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, target, slow):
        with contextlib.suppress(OSError):
            while data := source.recv(self.rate // 20 if slow else 65536):
                target.sendall(data)
                if slow:
                    time.sleep(0.05)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.ended = True
        for end in [self.listener, *self.sockets]:
            end.close()


@skein_only
def test_L30_heartbeats_are_answered_while_publishes_flood_a_slow_peer(make_node):
    """What is published is far more than the peer's path takes; it stays a member in good health, and all that is lost
    are publishes, which are counted."""
    timeout = 1000
    port = harness.free_port()
    path = SlowPath(port + 10000, rate=20000)
    try:
        slow = make_node(port=port, cluster_node_timeout=timeout, cluster_announce_bus_port=path.port).start()
        first = make_node(cluster_node_timeout=timeout).start()
        harness.form([slow, first])
        with first.client(30) as publisher:
            publisher.call("CLUSTER", "EVENTS", "RESET")
            began = time.monotonic()
            while time.monotonic() - began < 6:
                publisher.pipeline([("PUBLISH", "flood", b"f" * 10000)] * 200)
                for line in first.call("CLUSTER", "NODES").decode().splitlines():
                    words = line.split()
                    assert "fail" not in words[2], line
                    assert words[7] == "connected", line
            events = [dict(zip(event[::2], event[1::2])) for event in publisher.call("CLUSTER", "EVENTS")]
        assert path.slow >= 1, "nothing was published over the path"
        assert not [event for event in events if event[b"kind"] in (b"suspect", b"fail")], events
        info = first.cluster_info()
        assert int(info["cluster_bus_publishes_dropped"]) > 100
        # Every heartbeat has its answer, but for those on their way at this moment.
        owed = int(info["cluster_stats_messages_ping_sent"]) - int(info["cluster_stats_messages_pong_received"])
        assert int(info["cluster_stats_messages_ping_sent"]) > 10 and owed <= 2, info
    finally:
        path.close()


@skein_only
def test_what_waits_for_a_silent_subscriber_is_bounded(make_node):
    node = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2).start()
    node.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 0 0")
    listeners = [node.client() for _ in range(4)]
    for listener in listeners:
        listener.call("SUBSCRIBE", "c")
    before = node.memory()
    with node.client(60) as publisher:
        for _ in range(40):
            publisher.pipeline([("PUBLISH", "c", b"x" * 100_000)] * 20)
        assert process.wait_until(lambda: publisher.call("PUBSUB", "NUMSUB", "c") == [b"c", 0], 10)
    assert int(node.info("stats")["client_output_buffer_limit_disconnections"]) == 4
    assert node.memory() - before < 60 << 20
    for listener in listeners:
        listener.close()


def test_keyspace_notifications_are_those_of_redis(make_node, tmp_path):
    """The same commands, the same events in the same order."""
    node = make_node(cluster_enabled="no").start()
    port = harness.free_port()
    commands = [("SET", "a", 1), ("INCR", "a"), ("APPEND", "a", "x"), ("EXPIRE", "a", 100), ("PERSIST", "a"),
                ("RENAME", "a", "b"), ("SETRANGE", "b", 1, "y"), ("COPY", "b", "c"), ("DEL", "b", "c"),
                ("SET", "d", 1, "PX", 1), ("GETDEL", "e"), ("MSET", "f", 1, "g", 2), ("FLUSHALL",)]

    def heard(at):
        with resp.Client(at) as listener, resp.Client(at) as writer:
            writer.call("CONFIG", "SET", "notify-keyspace-events", "xKEA$")
            assert writer.call("CONFIG", "GET", "notify-keyspace-events")[1] == b"AKE"
            listener.call("PSUBSCRIBE", "__key*__:*")
            for words in commands[:9]:
                writer.call(*words)
            writer.call(*commands[9])
            assert process.wait_until(lambda: writer.call("EXISTS", "d") == 0, 5)
            for words in commands[10:]:
                with contextlib.suppress(resp.Error):
                    writer.call(*words)
            writer.call("PUBLISH", "__key_end__:", "end")
            events = []
            while (event := listener.reply())[3] != b"end":
                events.append(tuple(event[2:]))
            for letters in ("", "Ex", "Kg$"):
                writer.call("CONFIG", "SET", "notify-keyspace-events", letters)
                events.append(writer.call("CONFIG", "GET", "notify-keyspace-events")[1])
            return events

    with subprocess.Popen([REDIS, "--port", str(port), "--save", "", "--dir", str(tmp_path)],
                          stdout=subprocess.DEVNULL) as redis:
        try:
            def serves():
                with contextlib.suppress(OSError):
                    return resp.Client(port).call("PING") == b"PONG"
                return False
            assert process.wait_until(serves, 10)
            expected = heard(port)
        finally:
            redis.terminate()
    assert heard(node.port) == expected


@skein_only
def test_shard_channels_are_those_of_primary_and_replicas(make_cluster, make_node):
    """A replica serves its primary's shard channels without READONLY; messages reach both, and nobody else."""
    nodes = make_cluster(2)
    channel = "{here}c"
    home = harness.owner(nodes, channel)
    other = next(node for node in nodes if node is not home)
    replica = make_node().start()
    harness.meet(replica, home)
    replicate(replica, home)
    name = channel.encode()
    with home.client() as at_home, replica.client() as at_replica, other.client() as elsewhere:
        assert at_home.call("SSUBSCRIBE", channel) == [b"ssubscribe", name, 1]
        assert process.wait_until(lambda: replica.cluster_info()["cluster_state"] == "ok", 30)
        assert at_replica.call("SSUBSCRIBE", channel) == [b"ssubscribe", name, 1]
        with pytest.raises(resp.Error, match="MOVED"):
            elsewhere.call("SSUBSCRIBE", channel)
        for number, sender in enumerate((home, replica, home, replica)):
            text = b"message %d" % number
            assert sender.call("SPUBLISH", channel, text) == 1, "as many as are subscribed at this node"
            for listener in (at_home, at_replica):
                assert listener.reply() == [b"smessage", name, text]
        # What is said to all goes to nobody as a shard message.
        assert home.call("PUBLISH", channel, "x") == 0
        assert at_replica.call("PING") == [b"pong", b""] and at_home.call("PING") == [b"pong", b""]
