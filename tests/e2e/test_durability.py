"""SIGKILL at any instant, under load, then a start on the same folder: what was acknowledged is there."""

import random
import threading
import time

import pytest

import harness
import resp
from conftest import skein_only

WRITERS = 4
SHARDS = (1, 2, 4)


class Writer(threading.Thread):
    """Writes until the connection breaks and keeps its own record of what was acknowledged.

    Each writer has keys of its own, of many slots. After each pipeline is answered, `acknowledged` holds what a later
    reader must find; `sent` also what may or may not be there.
    """

    def __init__(self, port, number, round_number, started):
        super().__init__(daemon=True)
        self.port, self.number, self.round, self.started = port, number, round_number, started
        self.acknowledged = {}  # key: value, or None for a deletion
        self.uncertain = {}  # key: values sent but not answered, in order
        self.counted = self.counted_sent = 0
        self.pairs = self.pairs_sent = 0
        self.replies = 0
        self.error = None

    @property
    def counter(self):
        return "count:%d:%d" % (self.round, self.number)

    @property
    def pair(self):
        tag = "{pair:%d:%d}" % (self.round, self.number)
        return tag + "a", tag + "b"

    def run(self):
        chance = random.Random(self.round * 100 + self.number)
        try:
            with resp.Client(self.port, timeout=20) as client:
                step = 0
                while True:
                    self.batch(client, chance, step)
                    step += 1
                    self.started.set()
        except (OSError, resp.Closed):
            pass
        except Exception as error:  # Anything else is the test's failure, told by the main thread.
            self.error = error

    def batch(self, client, chance, step):
        commands, effects = [], []
        for index in range(chance.choice((1, 1, 4, 16))):
            key = "k:%d:%d:%d" % (self.round, self.number, (step * 16 + index) % 3000)
            if chance.random() < 0.1:
                commands.append(("DEL", key))
                effects.append((key, None))
            elif chance.random() < 0.1:
                value = "expires-%d-%d" % (step, index)
                commands.append(("SET", key, value, "EX", "1000"))
                effects.append((key, value))
            else:
                value = "value-%d-%d" % (step, index) + "." * chance.randrange(0, 200)
                commands.append(("SET", key, value))
                effects.append((key, value))
        first, second = self.pair
        commands += [("INCR", self.counter), ("MSET", first, step, second, step)]
        for key, value in effects:
            self.uncertain.setdefault(key, []).append(value)
        self.counted_sent, self.pairs_sent = self.counted_sent + 1, step
        client.send_raw(b"".join(resp.encode(*command) for command in commands))
        for key, value in effects:
            reply = client.reply()
            assert reply == b"OK" if value is not None else reply in (0, 1), reply
            self.acknowledged[key] = value
            self.uncertain[key].pop(0)
            self.replies += 1
        self.counted = client.reply()
        assert client.reply() == b"OK"
        self.pairs = step
        self.replies += 2

    def check(self, client):
        """Compares the node with the record; returns what differs."""
        wrong = []
        keys = sorted(self.uncertain)
        for index in range(0, len(keys), 500):
            part = keys[index:index + 500]
            for key, found in zip(part, client.pipeline([("GET", key) for key in part])):
                found = found.decode() if found is not None else None
                allowed = [self.acknowledged.get(key), *self.uncertain[key]]
                if found not in allowed:
                    wrong.append("%s: found %r, allowed %r" % (key, found, allowed))
        count = int(client.call("GET", self.counter) or 0)
        if not self.counted <= count <= self.counted_sent:
            wrong.append("%s: found %d, acknowledged %d, sent %d" % (self.counter, count, self.counted, self.counted_sent))
        pair = client.call("MGET", *self.pair)
        if pair[0] != pair[1] or not self.pairs <= int(pair[0] or 0) <= self.pairs_sent:
            wrong.append("%s: found %r, acknowledged %d, sent %d" % (self.pair, pair, self.pairs, self.pairs_sent))
        return wrong


def load_then_kill(node, round_number, seconds):
    writers = []
    for number in range(WRITERS):
        writers.append(Writer(node.port, number, round_number, threading.Event()))
        writers[-1].start()
    for writer in writers:
        assert writer.started.wait(20), writer.error
    time.sleep(seconds)  # The instant of the kill is random: there is no event to wait for.
    node.kill()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()
        assert writer.error is None, repr(writer.error)
    return writers


@pytest.mark.parametrize("shards", SHARDS)
def test_L05_every_acknowledged_write_survives_SIGKILL(make_node, shards):
    node = make_node(cluster_bootstrap="yes", appendonly="yes", appendfsync="always", client_loops=2,
                     storage_shards=shards).start()
    node_id, slots = node.node_id(), harness.slots_by_node(node)
    chance = random.Random(shards)
    writers = []
    for round_number in range(3):
        writers += load_then_kill(node, round_number, chance.uniform(0.05, 0.5))
        node.start()
        node.await_state("ok")
        assert node.node_id() == node_id
        assert harness.slots_by_node(node) == slots
        # What earlier rounds wrote has now been through several starts.
        with node.client(timeout=30) as client:
            wrong = [text for writer in writers for text in writer.check(client)]
        assert not wrong, "%d differ: %s" % (len(wrong), wrong[:5])
    assert sum(writer.replies for writer in writers) > 200


@pytest.mark.parametrize("policy", ("everysec", "no"))
@pytest.mark.parametrize("shards", SHARDS)
def test_L05_other_policies_recover_a_prefix_of_each_log(make_node, shards, policy):
    node = make_node(cluster_bootstrap="yes", appendonly="yes", appendfsync=policy, client_loops=2,
                     storage_shards=shards).start()
    written = {}

    def write(number):
        # One hash tag: one slot, one shard, one log. Numbers in the order in which they were sent.
        client = resp.Client(node.port, timeout=20)
        try:
            while written[number] < 200000:
                start = written[number]
                client.pipeline([("SET", "{tag:%d}:%d" % (number, start + index), start + index) for index in range(20)])
                written[number] = start + 20
        except OSError:
            pass
        finally:
            client.close()

    threads = []
    for number in range(WRITERS):
        written[number] = 0
        threads.append(threading.Thread(target=write, args=(number,), daemon=True))
    for thread in threads:
        thread.start()
    time.sleep(0.4)  # As above: the instant is random.
    node.kill()
    for thread in threads:
        thread.join(30)
    node.start()
    node.await_state("ok")
    with node.client(timeout=30) as client:
        for number in range(WRITERS):
            assert written[number] > 0
            found = client.pipeline([("GET", "{tag:%d}:%d" % (number, index)) for index in range(written[number] + 20)])
            present = [value is not None for value in found]
            last = present.index(False) if False in present else len(present)
            assert not any(present[last:]), "writer %d: a hole at %d" % (number, last)
            assert found[:last] == [b"%d" % index for index in range(last)]


def test_L05_every_node_of_a_cluster_is_killed_and_comes_back(make_cluster):
    nodes = make_cluster(3, appendonly="yes", appendfsync="always", client_loops=2, storage_shards=2)
    ids, slots = [node.node_id() for node in nodes], harness.slots_by_node(nodes[0])
    keys = ["whole:%d" % index for index in range(1000)]
    for node in nodes:
        own = [key for key in keys if harness.owner(nodes, key) is node]
        with node.client() as client:
            assert set(client.pipeline([("SET", key, key) for key in own])) == {b"OK"}
    for node in nodes:
        node.kill()
    for node in nodes:
        node.start()
    harness.await_whole(nodes)
    assert [node.node_id() for node in nodes] == ids
    for node in nodes:
        assert harness.slots_by_node(node) == slots
        own = [key for key in keys if harness.owner(nodes, key) is node]
        with node.client() as client:
            assert client.pipeline([("GET", key) for key in own]) == [key.encode() for key in own]


@pytest.mark.parametrize("way", ("SIGTERM", "SHUTDOWN"))
@pytest.mark.parametrize("shards", (1, 4))
def test_L21_a_clean_end_loses_nothing_and_exits_with_0(make_node, way, shards):
    node = make_node(cluster_bootstrap="yes", appendonly="yes", appendfsync="no", client_loops=2,
                     storage_shards=shards).start()
    writers = []
    for number in range(WRITERS):
        writers.append(Writer(node.port, number, 0, threading.Event()))
        writers[-1].start()
    for writer in writers:
        assert writer.started.wait(20), writer.error
    if way == "SIGTERM":
        code = node.terminate()
    else:
        with node.client() as client:
            client.send("SHUTDOWN")
            assert client.at_end()
        code = node.wait()
    assert code == 0, node.log_text()[-2000:]
    for writer in writers:
        writer.join(30)
        assert writer.error is None, repr(writer.error)
    node.start()
    node.await_state("ok")
    with node.client(timeout=30) as client:
        wrong = [text for writer in writers for text in writer.check(client)]
    assert not wrong, "%d differ: %s" % (len(wrong), wrong[:5])


@skein_only
def test_L07_a_write_is_in_its_owners_log_and_nowhere_else(make_node):
    shards = 4
    node = make_node(cluster_bootstrap="yes", appendonly="yes", appendfsync="always", client_loops=2,
                     storage_shards=shards).start()
    # From several connections, so that some of them are on another loop than the shard.
    for connection in range(8):
        with node.client() as client:
            client.pipeline([("SET", "owned:%d:%d:" % (connection, index), "1") for index in range(50)])
    assert node.terminate() == 0
    logs = {}
    for shard in range(shards):
        folder = node.folder / "appendonlydir" / ("shard-%d" % shard)
        logs[shard] = b"".join(path.read_bytes() for path in folder.glob("incr.*.aof"))
    for connection in range(8):
        for index in range(50):
            key = "owned:%d:%d:" % (connection, index)
            holders = [shard for shard, log in logs.items() if key.encode() in log]
            assert holders == [harness.key_slot(key) % shards], key


def test_expiry_goes_on_across_a_restart(make_node):
    node = make_node(cluster_bootstrap="yes", appendonly="yes", appendfsync="always").start()
    with node.client() as client:
        assert client.call("SET", "soon", "1", "PX", "300") == b"OK"
        assert client.call("SET", "late", "1", "EX", "1000") == b"OK"
        at = client.call("PEXPIRETIME", "late")
        soon = client.call("PEXPIRETIME", "soon")
    node.kill()
    # The key's life ends while the node is down.
    assert harness.process.wait_until(lambda: time.time() * 1000 > soon, 10)
    node.start()
    node.await_state("ok")
    with node.client() as client:
        assert client.call("GET", "soon") is None
        assert client.call("PEXPIRETIME", "late") == at


def test_without_a_log_nothing_is_kept_and_nothing_is_written(make_node):
    node = make_node(cluster_bootstrap="yes", appendonly="no").start()
    node.call("SET", "a", "1")
    node.kill()
    assert not (node.folder / "appendonlydir").exists()
    node.start()
    node.await_state("ok")
    assert node.call("GET", "a") is None
