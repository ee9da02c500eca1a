"""Cluster clients of several languages, unchanged, writing and reading while primaries change."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import harness
import process
from conftest import skein_only
from test_replication import await_that, linked, replication

pytestmark = skein_only

FOLDER = harness.ROOT / "tests" / "e2e"
CLIENTS = {
    "python3-redis": ["/usr/bin/python3", FOLDER / "traffic.py"],
    "ioredis": ["node", FOLDER / "js" / "traffic.js", "ioredis"],
    "glide": ["node", FOLDER / "js" / "traffic.js", "glide"],
}
PATIENCE = 60


class Client:
    """One client's process (traffic.py says how it is spoken to)."""

    def __init__(self, name, ports, folder):
        self.name = name
        self.log = open(folder / (name + ".log"), "wb")
        self.process = subprocess.Popen([*map(str, CLIENTS[name]), *map(str, ports)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1)

    def seen(self):
        self.process.stdin.write("?\n")
        while True:
            line = self.process.stdout.readline()
            assert line, "%s has ended with exit code %s: see %s" % (self.name, self.process.wait(10), self.log.name)
            if line.startswith("{"):
                return json.loads(line)
            self.log.write(line.encode())  # GLIDE's own log

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process.stdout.close()
        self.log.close()


class Groups:
    """Three primaries with a replica each, and every client at work."""

    def __init__(self, nodes, clients):
        self.nodes, self.clients = nodes, clients

    def pair(self, index):
        """(primary, replica) of the group with these slots, by their order."""
        one, other = self.nodes[index], self.nodes[index + 3]
        return (one, other) if one.call("ROLE")[0] == b"master" else (other, one)

    def await_whole(self):
        for node in self.nodes:
            await_that(lambda: node.cluster_info()["cluster_state"] == "ok" and
                       (replication(node)["role"] == "master" or linked(node)),
                       lambda: "%s\n%s" % (replication(node), node.log_text()[-3000:]), PATIENCE)

    def await_work(self, count=20):
        """Every key of every client has been written so often from now on."""
        for client in self.clients:
            goal = [done + count for done in client.seen()["written"]]
            await_that(lambda: all(done >= wanted for done, wanted in zip(client.seen()["written"], goal)),
                       lambda: "%s does not get on: %s" % (client.name, client.seen()), PATIENCE)

    def errors(self):
        return {client.name: client.seen()["errors"] for client in self.clients}

    def assert_nothing_seen(self):
        for client in self.clients:
            seen = client.seen()
            assert seen["errors"] == 0 and seen["lost"] == [], (client.name, seen)


@pytest.fixture
def in_memory():
    """A folder whose disk nobody else keeps busy: an election by hand has seconds for its votes to be synced."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-e2e-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=[15000])
def groups(request, in_memory, tmp_path):
    nodes = [harness.Node(in_memory / ("node-%d" % index), client_loops=2, storage_shards=2, appendonly="yes",
                          cluster_node_timeout=request.param) for index in range(6)]
    clients = []
    try:
        for node in nodes:
            node.start()
        yield at_work(nodes, clients, tmp_path)
    finally:
        for one in clients:
            one.close()
        for node in nodes:
            node.clean_up()


def at_work(nodes, clients, folder):
    harness.form(nodes[:3])
    for node in nodes[3:]:
        nodes[0].call("CLUSTER", "MEET", "127.0.0.1", node.port)
    for primary, replica in zip(nodes, nodes[3:]):
        await_that(lambda: replica.call("CLUSTER", "REPLICATE", primary.node_id()) == b"OK")
    made = Groups(nodes, clients)
    made.await_whole()
    for name in CLIENTS:
        clients.append(Client(name, [node.port for node in nodes], folder))
    made.await_work()
    return made


def fail_over(primary, replica):
    """By hand; asked again where a slow machine has let it run out of time, which is no error either."""
    def done():
        return replica.call("ROLE")[0] == b"master" and linked(primary)

    for _ in range(5):
        if replica.call("ROLE")[0] == b"slave":
            assert replica.call("CLUSTER", "FAILOVER") == b"OK"
        if process.wait_until(done, 10):
            return
    raise AssertionError(replica.log_text()[-3000:])


def test_no_client_notices_a_failover_by_hand(groups):
    for index in (0, 1, 1, 2):
        primary, replica = groups.pair(index)
        fail_over(primary, replica)
        groups.await_work()
    groups.assert_nothing_seen()


# The group with the first slots keeps its primary in the next two: python3-redis 4.3 asks that one first where slots
# are, and once it is gone stumbles over its own copying of a lock, whatever server it talks to.
def test_no_client_notices_that_a_primary_ends(groups):
    for index in (1, 2):
        primary, replica = groups.pair(index)
        assert primary.terminate() == 0
        assert replica.call("ROLE")[0] == b"master", primary.log_text()[-3000:]
        groups.await_work()
        primary.start()
        await_that(lambda: linked(primary), lambda: primary.log_text()[-3000:], PATIENCE)
        groups.await_work()
    groups.assert_nothing_seen()


@pytest.mark.parametrize("groups", [2000], indirect=True, ids=["2s"])
def test_every_client_gets_on_after_a_primary_has_died(groups):
    primary, replica = groups.pair(1)
    primary.kill()
    await_that(lambda: replica.call("ROLE")[0] == b"master", lambda: replica.log_text()[-3000:], PATIENCE)
    groups.await_work()
    # From here on nobody may notice anything, nor when the old one comes back.
    before = groups.errors()
    groups.await_work(50)
    primary.start()
    await_that(lambda: linked(primary), lambda: primary.log_text()[-3000:], PATIENCE)
    groups.await_work(50)
    assert groups.errors() == before, [(client.name, client.seen()) for client in groups.clients]
