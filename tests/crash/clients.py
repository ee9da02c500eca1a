"""Clients that write until the node dies, and keep their own record of what was acknowledged."""

import contextlib
import random
import threading
import time

import commands
import resp
from model import Held, Unit

TAGS = 2  # a client and shard
BALLAST_KEYS = 3000


def tags_of_shards(prefix, shards, count, slot_of):
    """`count` hash tags for each shard."""
    tags = {shard: [] for shard in range(shards)}
    number = 0
    while any(len(found) < count for found in tags.values()):
        tag = "%s-%d" % (prefix, number)
        number += 1
        found = tags[slot_of(tag) % shards]
        if len(found) < count:
            found.append(tag.encode())
    return tags


class Gate:
    """Clients pass it for each batch; a flush closes it and waits until all have their replies."""

    def __init__(self):
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False
        self.broken = False  # the node has died: nobody waits any more

    @contextlib.contextmanager
    def inside(self):
        with self._changed:
            self._changed.wait_for(lambda: not self._closed or self.broken)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def closed(self):
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0 or self.broken)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()

    def break_open(self):
        with self._changed:
            self.broken = True
            self._changed.notify_all()


class Wrong(Exception):
    """A reply that no command may have had."""


class ClientState:
    """What one client writes and knows, over all rounds of a cell."""

    def __init__(self, number, shards, slot_of):
        self.number = number
        self.units = [Unit("client %d, shard %d" % (number, shard), shard) for shard in range(shards)]
        self.counter = 0
        tags = tags_of_shards("c%d" % number, shards, TAGS, slot_of)
        self.tags = [[commands.Tag(self.units[shard], tag) for tag in tags[shard]] for shard in range(shards)]


class Writer(threading.Thread):
    """One round of one client. Ends when the connection does; `error` is anything else that ended it."""

    def __init__(self, port, client_state, shared_keys, gate, seed):
        super().__init__(daemon=True)
        self.port, self.mine, self.shared_keys, self.gate = port, client_state, shared_keys, gate
        self.chance = random.Random(seed)
        self.started = threading.Event()
        self.error = None
        self.acknowledged = 0

    def run(self):
        try:
            with resp.Client(self.port, timeout=30) as client:
                while True:
                    with self.gate.inside():
                        self.batches(client)
                    self.started.set()
        except TimeoutError:
            self.error = Wrong("no reply within 30 s")
        except OSError:
            pass
        except Exception as error:  # Judged by the driver.
            self.error = error
        finally:
            self.started.set()

    def batches(self, client):
        """A few pipelines, the next one sent before the last one is answered."""
        waiting = []
        for _ in range(self.chance.choice((1, 2, 6))):
            waiting.append(self.send(client))
            if len(waiting) == 2:
                self.receive(client, waiting.pop(0))
        for batch in waiting:
            self.receive(client, batch)

    def send(self, client):
        batch, data = [], []
        units = self.mine.units
        for _ in range(self.chance.choice((1, 1, 4, 16, 40))):
            self.mine.counter += 1
            shard = self.chance.randrange(len(units))
            if self.chance.random() < 0.06:
                words, expected = (b"INCR", self.shared_keys[shard]), None
                step = units[shard].send({}, is_shared=True)
            else:
                tag = self.chance.choice(self.mine.tags[shard])
                words, expected, changes, opened = commands.any_command(self.chance, tag, self.mine.counter)
                step = units[shard].send(changes, open_expiry=opened)
            data.append(resp.encode(*words))
            batch.append((units[shard], step, words, expected))
        client.send_raw(b"".join(data))
        return batch

    def receive(self, client, batch):
        for unit, step, words, expected in batch:
            reply = client.reply()
            if step.shared is not None:
                if not isinstance(reply, int):
                    raise Wrong("%r was answered %r" % (words[:2], reply))
                step.shared = reply
            elif reply != expected:
                raise Wrong("%r was answered %r, not %r" % (words[:3], reply, expected))
            unit.answer(step, time.monotonic())
            self.acknowledged += 1


class Ballast:
    """Keys that make rewrites take a while: written before a round, changed by flushes alone."""

    def __init__(self, shards, slot_of):
        self.units = [Unit("ballast, shard %d" % shard, shard) for shard in range(shards)]
        tags = tags_of_shards("ballast", shards, 4, slot_of)
        self.keys = [(shard, b"{%s}%d" % (tag, number))
                     for shard in range(shards) for tag in tags[shard]
                     for number in range(BALLAST_KEYS // shards // 4)]

    def fill(self, client):
        """Writes what is not there; returns how many were acknowledged."""
        missing = [(self.units[shard], key) for shard, key in self.keys if key not in self.units[shard].state]
        for at in range(0, len(missing), 500):
            part = []
            for unit, key in missing[at:at + 500]:
                value = key + b"." * 150
                part.append((unit, unit.send({key: Held(value)}), (b"SET", key, value)))
            for (unit, step, _), reply in zip(part, client.pipeline([words for _, _, words in part])):
                if reply != b"OK":
                    raise Wrong("the ballast was answered %r" % reply)
                unit.answer(step, time.monotonic())
        return len(missing)


class Flusher(threading.Thread):
    """Flushes everything once, after a while, while no client waits for a reply."""

    def __init__(self, port, units, gate, after):
        super().__init__(daemon=True)
        self.port, self.units, self.gate, self.after = port, units, gate, after
        self.error = None

    def run(self):
        try:
            with resp.Client(self.port, timeout=30) as client:
                time.sleep(self.after)  # A random instant: there is no event to wait for.
                with self.gate.closed():
                    if self.gate.broken:
                        return
                    steps = [(unit, unit.send_flush()) for unit in self.units]
                    if client.call("FLUSHDB") != b"OK":
                        raise Wrong("FLUSHDB was not answered OK")
                    now = time.monotonic()
                    for unit, step in steps:
                        unit.answer(step, now)
        except OSError:
            pass
        except Exception as error:  # Judged by the driver.
            self.error = error


class Rewriter(threading.Thread):
    """BGREWRITEAOF, or BGSAVE, again and again. `begun` counts those that the node said it had started."""

    def __init__(self, port, command):
        super().__init__(daemon=True)
        self.port, self.command = port, command
        self.begun = 0
        self.refusals = []
        self.stopped = threading.Event()

    def run(self):
        try:
            with resp.Client(self.port, timeout=30) as client:
                while not self.stopped.is_set():
                    try:
                        client.call(self.command)
                        self.begun += 1
                    except resp.Error as error:
                        if "in progress" not in str(error):
                            self.refusals.append(str(error))
                            return
                    self.stopped.wait(0.005)
        except OSError:
            pass
