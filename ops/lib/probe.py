"""What a client waits, measured at a steady rate: a process of its own beside the load.

Every request has a time at which it is due, whether or not the one before has been answered, and its latency counts
from then: a server that stands still for 100 ms is seen by all the requests of these 100 ms. Each connection has one
request on its way. Beside it the control: an echo that does nothing, on the server's core, asked in the same way. What it
is kept waiting is the machine's doing, not the server's.
"""

import bisect
import contextlib
import heapq
import multiprocessing
import os
import random
import selectors
import socket
import statistics
import time


def _favour():
    with contextlib.suppress(OSError):
        os.nice(-15)  # it sleeps nearly always; what it measures is not its own wait for the core


def _echo(listener, core):
    os.sched_setaffinity(0, {core})
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(4096):
            connection.sendall(data)


def _measure(port, control_port, core, connections, rate, keys, control):
    """Until the pipe has something to read: [(due, seconds waited)], for the server and for the control."""
    os.sched_setaffinity(0, {core})
    _favour()
    # Not the default one, whose time-outs end up to a millisecond late: that would count as waited for the server.
    poll = selectors.SelectSelector()
    sockets = []
    for number in range(connections + 1):
        to = control_port if number == connections else port
        sock = socket.create_connection(("127.0.0.1", to))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.append(sock)
        poll.register(sock, selectors.EVENT_READ, number)
    poll.register(control, selectors.EVENT_READ, None)
    now = time.monotonic
    # The control is asked as often as one connection.
    period = connections / rate
    start = now()
    due = [(start + period * number / connections, number) for number in range(connections + 1)]
    heapq.heapify(due)
    since, missed, taken = [0.0] * (connections + 1), [0] * (connections + 1), ([], [])
    waiting = [False] * (connections + 1)
    control.send("ready")
    random_key = random.Random(1).randrange
    while True:
        wait = max(0.0, due[0][0] - now()) if due else None
        for key, _ in poll.select(wait):
            number = key.data
            if number is None:
                control.send(taken)
                return
            if not sockets[number].recv(1 << 16):
                control.send(taken)
                return
            end = now()
            waiting[number] = False
            heard = taken[number == connections]
            heard.append((since[number], end - since[number]))
            # Those that were due meanwhile have waited too.
            following = since[number] + period
            while following <= end:
                heard.append((following, end - following))
                following += period
            heapq.heappush(due, (following, number))
        while due and due[0][0] <= now():
            at, number = heapq.heappop(due)
            since[number], waiting[number] = at, True
            if number == connections:
                sockets[number].sendall(b"PING\r\n")
            else:
                sockets[number].sendall(b"*2\r\n$3\r\nGET\r\n$16\r\nkey:%012d\r\n" % random_key(keys))


class Samples:
    """Latencies of one kind, by the time at which they were due."""

    def __init__(self, pairs):
        self.pairs = sorted(pairs)
        self.times = [pair[0] for pair in self.pairs]

    def between(self, start, end):
        return sorted(pair[1] for pair in self.pairs[bisect.bisect_left(self.times, start):bisect.bisect_left(self.times, end)])


def figures(latencies):
    """Milliseconds; None without samples."""
    if not latencies:
        return {"requests": 0, "median_ms": None, "p99_ms": None, "longest_ms": None}
    return {"requests": len(latencies), "median_ms": statistics.median(latencies) * 1e3,
            "p99_ms": latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] * 1e3,
            "longest_ms": latencies[-1] * 1e3}


class Probe:
    """Reads keys of servers.Server.fill while the context lasts; `server` and `control` hold Samples afterwards."""

    def __init__(self, port, keys, server_core, core, connections=10, rate=1000):
        context = multiprocessing.get_context("fork")
        listener = socket.create_server(("127.0.0.1", 0))
        self.pipe, theirs = context.Pipe()
        self._echo = context.Process(target=_echo, args=(listener, server_core), daemon=True)
        self._echo.start()
        self._measure = context.Process(target=_measure, daemon=True,
                                        args=(port, listener.getsockname()[1], core, connections, rate, keys, theirs))
        self._measure.start()
        listener.close()
        self.server = self.control = None

    def __enter__(self):
        if self.pipe.recv() != "ready":
            raise RuntimeError("the probe did not start")
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(OSError):
            self.pipe.send("end")
            server, control = self.pipe.recv()
            self.server, self.control = Samples(server), Samples(control)
        self._measure.join(10)
        self._echo.join(10)
        for child in (self._measure, self._echo):
            if child.is_alive():
                child.kill()
