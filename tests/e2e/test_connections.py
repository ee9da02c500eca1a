"""Many clients, slow clients, silent clients: counts stay exact and memory stays bounded."""

import contextlib
import select
import socket
import struct
import time

import pytest

import harness
import process
import resp

MEBIBYTE = 1 << 20
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


def clients(node):
    return int(node.info("clients")["connected_clients"])


def await_one_client(node, timeout=15):
    """INFO's own connection is the only one."""
    assert process.wait_until(lambda: clients(node) == 1, timeout), "connected_clients is %d" % clients(node)


def received(node):
    return int(node.info("stats")["total_connections_received"])


def test_L04_ten_thousand_connects_then_one_client(make_node):
    limit = harness.allow_many_files()
    storm = 10000
    assert limit > storm + 500, "this test needs 10,500 open files; the limit is %d" % limit
    node = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2, maxclients=storm + 1000,
                     tcp_backlog=4096).start()
    await_one_client(node)
    start = received(node)
    for _ in range(10):
        assert node.call("PING") == b"PONG"
    await_one_client(node)
    # Each look at INFO is a connection too, so only a lower bound is known here.
    assert received(node) >= start + 10

    sockets = []
    try:
        for index in range(storm):
            client = socket.create_connection(("127.0.0.1", node.port), 10)
            if index % 3 == 1:
                client.sendall(b"PING\r\n")
            elif index % 3 == 2:
                client.sendall(b"*1\r\n$4\r\nPI")
            sockets.append(client)
        assert process.wait_until(lambda: clients(node) == storm + 1, 15), clients(node)
        for client in sockets[1::3]:
            assert client.recv(7) == b"+PONG\r\n"
        for index, client in enumerate(sockets):
            if index % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    finally:
        for client in sockets:
            client.close()
    await_one_client(node)
    assert int(node.info("stats")["rejected_connections"]) == 0


def test_L03_maxclients_refuses_in_words_and_serves_the_next(make_node):
    node = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2, maxclients=10).start()
    await_one_client(node)
    refused = int(node.info("stats")["rejected_connections"])
    held = [node.client() for _ in range(10)]
    for client in held:
        assert client.call("PING") == b"PONG"
    for _ in range(5):
        extra = node.client()
        with pytest.raises(resp.Error) as caught:
            extra.reply()
        # redis-server 7.0 says "clients + cluster connections" in cluster mode.
        assert str(caught.value).replace(" + cluster connections", "") == "ERR max number of clients reached"
        assert extra.at_end()
        extra.close()
    assert resp.fields(held[0].call("INFO", "stats"))["rejected_connections"] == str(refused + 5)
    assert resp.fields(held[0].call("INFO", "clients"))["connected_clients"] == "10"
    held.pop().close()

    def served():
        with contextlib.suppress(resp.Error, OSError):
            return node.call("PING") == b"PONG"
        return False

    assert process.wait_until(served, 5)
    for client in held:
        client.close()
    await_one_client(node)


def test_L01_the_count_is_exact_after_every_kind_of_end(make_node):
    node = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2).start()
    await_one_client(node)
    for _ in range(20):
        made = [node.client() for _ in range(30)]
        for client in made:
            client.call("PING")
        # Ended by the client, by reset, by error, by QUIT, by CLIENT KILL, with a reply owed.
        made[0].send_raw(b"*x\r\n")
        made[1].send("QUIT")
        made[2].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        made[3].socket.shutdown(socket.SHUT_WR)
        address = "%s:%d" % made[4].socket.getsockname()
        assert node.call("CLIENT", "KILL", address) == b"OK"
        identity = made[5].call("CLIENT", "ID")
        assert node.call("CLIENT", "KILL", "ID", identity) == 1
        made[6].send_raw(resp.encode("ECHO", "x" * 1000) * 100)
        assert made[4].at_end() and made[5].at_end()
        for client in made:
            client.close()
    await_one_client(node)
    listed = node.call("CLIENT", "LIST").decode().strip().splitlines()
    assert len(listed) == 1 and "cmd=client|list" in listed[0]


def test_a_client_can_end_itself(single):
    with single.client() as client:
        identity = client.call("CLIENT", "ID")
        client.send_raw(resp.encode("CLIENT", "KILL", "ID", identity, "SKIPME", "no") + resp.encode("PING"))
        assert client.reply() == 1
        assert client.at_end()


LIMIT = 8 * MEBIBYTE


def slow_client(node, data):
    client = socket.create_connection(("127.0.0.1", node.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.sendall(data)
    return client


def test_clients_that_never_read_cost_bounded_memory(make_node):
    """A pipeline that asks for 200 MiB: its client is closed, or held back at its limit, on whichever loop it is."""
    node = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2,
                     client_output_buffer_limit=["normal", str(LIMIT), "0", "0"]).start()
    node.call("SET", "{v}", b"x" * MEBIBYTE)
    before = node.memory()
    slow = []
    try:
        highest = 0
        for _ in range(6):
            slow.append(slow_client(node, resp.encode("GET", "{v}") * 200))
        deadline = harness.within(1.5)
        while deadline():
            highest = max(highest, node.memory())
            # Others are served all the while.
            assert node.call("GET", "{other}") is None
        # Six clients at four times their limit: what was in the making when it was noticed counts too.
        assert highest - before < 6 * 4 * LIMIT, highest - before
    finally:
        for client in slow:
            client.close()
    await_one_client(node)


def test_a_client_over_its_output_limit_is_closed(make_node):
    node = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2,
                     client_output_buffer_limit=["normal", str(LIMIT), "0", "0"]).start()
    node.call("SET", "{v}", b"x" * (4 * LIMIT))
    slow = [slow_client(node, resp.encode("GET", "{v}")) for _ in range(6)]
    try:
        await_one_client(node)
        assert node.call("STRLEN", "{v}") == 4 * LIMIT
    finally:
        for client in slow:
            client.close()


def test_a_slow_reader_below_the_limit_gets_all_of_it(single):
    size, count = 100000, 300
    with single.client(timeout=30) as client:
        client.call("SET", "{slow}", b"y" * size)
        client.send_raw(resp.encode("GET", "{slow}") * count)
        time.sleep(0.2)  # Not an event: the reader's slowness is what is tested.
        for _ in range(count):
            assert len(client.reply()) == size


def test_silent_clients_are_closed_by_timeout(make_node):
    node = make_node(cluster_bootstrap="yes", timeout=1).start()
    idle, half = node.client(), node.client()
    half.send_raw(b"*2\r\n$3\r\nGET\r\n$3\r\n")
    start = time.monotonic()
    for client in (idle, half):
        assert client.at_end()
        client.close()
    assert 0.9 <= time.monotonic() - start < 8
    await_one_client(node)


def test_keepalive_is_set_on_every_connection(make_node):
    """Half-open connections are found by the kernel: by keep-alive probes, at the interval that was configured."""
    node = make_node(cluster_bootstrap="yes", tcp_keepalive=77).start()
    with node.client() as client:
        client.call("PING")
        peer = "%04X" % client.socket.getsockname()[1]
        with open("/proc/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file.read().splitlines()[1:]]
        row = next(row for row in rows
                   if row[1].endswith(":%04X" % node.port) and row[2].endswith(":" + peer))
        timer, jiffies = row[5].split(":")
        # Timer 02 is keep-alive; it runs out within the interval.
        assert timer == "02"
        assert 0 < int(jiffies, 16) <= 77 * 100 + 100


def test_memory_does_not_grow_with_clients_that_come_and_go(make_node):
    node = make_node(cluster_bootstrap="yes", client_loops=2, storage_shards=2).start()
    harness.allow_many_files()
    batches, batch = 20, 200

    def cycle():
        for _ in range(batches):
            made = [socket.create_connection(("127.0.0.1", node.port), 10) for _ in range(batch)]
            for client in made:
                client.sendall(resp.encode("SET", "{cycle}", b"z" * 100) * 4)
            for client in made:
                client.recv(5)
                client.close()
        await_one_client(node)
        return node.memory()

    for _ in range(2):
        cycle()
    first = min(cycle(), cycle())
    last = min(cycle(), cycle())
    # 8,000 connections lie between the two: a kilobyte kept of each would show.
    assert last - first < 6 * MEBIBYTE, (first, last)


def test_a_flood_of_one_client_leaves_room_for_others(single):
    """One client keeps a deep pipeline of work going; another's PING is answered all the while."""
    with single.client() as flood, single.client() as other:
        flood.socket.setblocking(False)
        data = resp.encode("SET", "{flood}", "x" * 100) * 1000
        worst, sent, answered = 0.0, 0, 0
        pending = b""
        deadline = harness.within(1.5)
        while deadline():
            readable, writable, _ = select.select([flood.socket], [flood.socket], [], 0)
            if writable:
                pending = pending or data
                with contextlib.suppress(BlockingIOError):
                    count = flood.socket.send(pending)
                    sent += count
                    pending = pending[count:]
            if readable:
                with contextlib.suppress(BlockingIOError):
                    answered += len(flood.socket.recv(1 << 20))
            start = time.monotonic()
            assert other.call("PING") == b"PONG"
            worst = max(worst, time.monotonic() - start)
        assert sent > len(data) and answered > 0
        assert worst < 1.0, worst
