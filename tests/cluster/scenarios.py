"""What happens to a fleet. Each scenario leaves it whole, and returns what it measured, in words."""

import os
import socket
import threading
import time

import process
import resp
from fleet import PORT, SEED_NAME, Unexpected


def seconds(value):
    return "%.1f s" % value


def failed_everywhere(fleet, lost):
    """Every running node says that the lost ones have failed."""
    names = {node.id for node in lost}
    for node in fleet.nodes:
        if node in lost:
            continue
        view = node.view()
        if any("fail" not in view[name][1] for name in names):
            return False
    return True


def await_failed(fleet, lost):
    began = time.monotonic()
    limit = fleet.timeout_ms / 1000 * 5 + 10
    if not process.wait_until(lambda: failed_everywhere(fleet, lost), limit):
        raise Unexpected("not every node says that the %d lost nodes have failed" % len(lost))
    return time.monotonic() - began


def kill_a_few(fleet):
    lost = fleet.random.sample(fleet.nodes, max(1, len(fleet.nodes) // 8))
    for node in lost:
        node.kill()
    detected = await_failed(fleet, lost)
    for node in lost:
        node.start()
    for node in lost:
        node.await_start()
    return "%d killed, failed everywhere after %s, whole %s after their start" % (
        len(lost), seconds(detected), seconds(fleet.await_whole()))


def restart_one_by_one(fleet):
    """Each node in turn comes back with another address."""
    worst = 0
    for node in fleet.nodes:
        node.terminate()
        node.address = fleet.net.new_address(node.index)
        fleet.write_hosts()
        node.start().await_start()
        worst = max(worst, fleet.await_whole())
    return "%d restarts with another address, whole at most %s after each" % (len(fleet.nodes), seconds(worst))


def restart_all_at_once(fleet):
    """Nobody is where anybody remembers; only the name of the seeds leads to them."""
    for node in fleet.nodes:
        node.kill()
    for node in fleet.nodes:
        node.address = fleet.net.new_address(node.index)
    fleet.write_hosts()
    fleet.start()
    return "all %d with another address, whole after %s" % (len(fleet.nodes), seconds(fleet.await_whole(120)))


def freeze_one(fleet):
    node = fleet.random.choice(fleet.nodes)
    node.process.send_signal(19)
    try:
        detected = await_failed(fleet, [node])
    finally:
        node.process.send_signal(18)
    return "stopped by SIGSTOP, failed everywhere after %s, whole %s after SIGCONT" % (
        seconds(detected), seconds(fleet.await_whole()))


def cut_minority(fleet):
    """The smaller side says that the cluster is down, within about a node timeout; the larger one fails it."""
    shuffled = fleet.random.sample(fleet.nodes, len(fleet.nodes))
    few = shuffled[:len(shuffled) // 3]
    many = shuffled[len(few):]
    indexes = [node.index for node in few], [node.index for node in many]
    began = time.monotonic()
    fleet.net.cut(*indexes)
    fleet.net.cut(*reversed(indexes))

    def down():
        return all(node.cluster_info()["cluster_state"] == "fail" for node in few)
    if not process.wait_until(down, fleet.timeout_ms / 1000 * 3 + 10):
        raise Unexpected("the smaller side does not say that the cluster is down")
    stopped = time.monotonic() - began
    for node in few:
        slot_key = "x"
        try:
            node.call("SET", slot_key, "1")
            raise Unexpected("node %d took a write while it was cut off" % node.index)
        except resp.Error as error:
            if error.code not in ("CLUSTERDOWN", "MOVED"):
                raise
    names = {node.id for node in few}

    def given_up():
        return all("fail" in flags for node in many for name, (_, flags, _, _) in node.view().items() if name in names)
    if not process.wait_until(given_up, fleet.timeout_ms / 1000 * 5 + 10):
        raise Unexpected("the larger side does not fail the smaller one")
    fleet.net.heal()
    return "%d cut off from %d: down there after %s, whole %s after healing" % (
        len(few), len(many), seconds(stopped), seconds(fleet.await_whole()))


def cut_one_way(fleet):
    """What one node sends reaches nobody."""
    node = fleet.random.choice(fleet.nodes)
    fleet.net.cut([node.index], [other.index for other in fleet.nodes])
    detected = await_failed(fleet, [node])
    fleet.net.heal()
    return "deaf to one node: failed everywhere else after %s, whole %s after healing" % (
        seconds(detected), seconds(fleet.await_whole()))


class Meanwhile:
    """Does something to each node in turn, again and again, while something else happens."""

    def __init__(self, fleet, change):
        self.changes = 0
        self._fleet, self._change = fleet, change
        self._stop = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            for node in self._fleet.nodes:
                try:
                    self.changes += self._change(node)
                except OSError:
                    pass  # it is down at this moment
                except (resp.Error, RuntimeError) as error:
                    self._error = str(error)
                    return
                if self._stop.wait(0.01):
                    return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *unused):
        self._stop.set()
        self._thread.join()
        if self._error and kind is None:
            raise Unexpected(self._error)


def resize(node):
    steps = (2, 0, 4, 1, 0)
    for threads in steps:
        node.call("CONFIG", "SET", "bus-io-threads", threads)
    return len(steps)


def resize_workers(fleet):
    """bus-io-threads goes up and down on every node while nodes come and go."""
    with Meanwhile(fleet, resize) as resizes:
        killed = kill_a_few(fleet)
    for node in fleet.nodes:
        node.call("CONFIG", "SET", "bus-io-threads", 0)
    return "%d resizes meanwhile; %s" % (resizes.changes, killed)


def renew(node):
    return 1 if node.renew_certificate() else 0


def counted(fleet, name):
    return sum(int(node.cluster_info()[name]) for node in fleet.nodes)


def tls_churn(fleet):
    """Certificates are renewed and workers resized on every node while nodes die and come back; then everything has the
    newest certificate, and nothing of the old links is left."""
    accepts = "cluster_bus_accepts_inline", "cluster_bus_accepts_offloaded"
    fleet.links_churn = True
    with Meanwhile(fleet, renew) as renewals, Meanwhile(fleet, resize) as resizes:
        killed = [kill_a_few(fleet) for _ in range(2)]
    fleet.links_churn = False
    for node in fleet.nodes:
        node.call("CONFIG", "SET", "bus-io-threads", 0)
    before = sum(counted(fleet, name) for name in accepts)
    for node in fleet.nodes:
        node.renew_certificate()
    links = len(fleet.nodes) * (len(fleet.nodes) - 1)

    def renewed():
        return sum(counted(fleet, name) for name in accepts) >= before + links
    if not process.wait_until(renewed, fleet.timeout_ms / 1000 * 2 + 60):
        raise Unexpected("not every link was made anew after the last renewal: %d handshakes of %d" % (
            sum(counted(fleet, name) for name in accepts) - before, links))
    whole = fleet.await_whole()
    strange = [node.index for node in fleet.nodes if "certificate-mismatch" in node.cluster_info()["cluster_bus_closes"]]
    if strange:
        raise Unexpected("nodes %s took a renewed certificate for another's" % strange)
    return "%d certificates renewed and %d resizes meanwhile; %s; all %d links renewed once more, whole after %s" % (
        renewals.changes, resizes.changes, "; ".join(killed), links, seconds(whole))


def hostile_connections(fleet):
    """Strangers who say nothing, nonsense, or half of something, at the bus of every node."""
    sockets = []
    sent = 0
    try:
        for node in fleet.nodes:
            for number in range(30):
                try:
                    s = socket.create_connection((node.address, PORT + 10000), 2)
                    s.setblocking(False)
                    if number % 3 == 1:
                        s.send(os.urandom(300))
                    elif number % 3 == 2:
                        s.send(b"SKNB\x01\x01\x00\x00")
                    sockets.append(s)
                    sent += 1
                except OSError:
                    pass  # refused: over a limit
        why = fleet.why_not_whole()
        if why:
            raise Unexpected("with strangers at the door: " + why)
    finally:
        for s in sockets:
            s.close()
    return "%d connections; nobody noticed" % sent


LOOPBACK = (kill_a_few, freeze_one, hostile_connections, restart_one_by_one, resize_workers)
TLS = (tls_churn,)
CUTTING = (cut_minority, cut_one_way, restart_all_at_once)
SEEDS = SEED_NAME
