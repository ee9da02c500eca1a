"""Clients that follow MOVED, write and read as long as they are let, and write down every call, its answer and its time."""

import contextlib
import random
import threading
import time

import process
import resp
from history import Journal, Outcome, Read, Register

SLOTS = 16384
ANSWER_SECONDS = 1.0  # after which an answer is not waited for any more
# Errors that come before anything is carried out. MISCONF may come after: to a write that waited for its sync.
REFUSALS = {"MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "LOADING", "MASTERDOWN", "OOM",
            "NOREPLICAS", "ERR", "NOAUTH", "CROSSSLOT"}


def crc16(data):
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = ((value << 1) ^ 0x1021 if value & 0x8000 else value << 1) & 0xffff
    return value


class Cluster:
    """Where slots are, as one client believes: (host, port) a slot."""

    def __init__(self, addresses):
        self.addresses = list(addresses)
        self.owner = {}
        self.connections = {}

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()

    def refresh(self):
        for address in random.sample(self.addresses, len(self.addresses)):
            with contextlib.suppress(OSError, resp.Error, ValueError):
                with resp.Client(address[1], host=address[0], timeout=ANSWER_SECONDS) as client:
                    for first, last, primary, *_ in client.call("CLUSTER", "SLOTS"):
                        for slot in range(first, last + 1):
                            self.owner[slot] = (primary[0].decode() or address[0], primary[1])
                return
        time.sleep(0.02)

    def connection(self, address):
        if address not in self.connections:
            self.connections[address] = resp.Client(address[1], host=address[0], timeout=ANSWER_SECONDS)
        return self.connections[address]

    def drop(self, address):
        connection = self.connections.pop(address, None)
        if connection is not None:
            connection.close()

    def call(self, slot, *words):
        """(reply, outcome): one try. An outcome that is not ACKNOWLEDGED comes with the words of what was wrong."""
        if slot not in self.owner:
            self.refresh()
        address = self.owner.get(slot)
        if address is None:
            return "nobody knows slot %d" % slot, Outcome.REFUSED
        try:
            connection = self.connection(address)
        except OSError as error:
            self.refresh()
            return str(error), Outcome.REFUSED  # nothing has been sent
        try:
            return connection.call(*words), Outcome.ACKNOWLEDGED
        except resp.Error as error:
            if error.code == "MOVED":
                host, port = str(error).split(" ")[2].rsplit(":", 1)
                self.owner[slot] = (host or address[0], int(port))
            elif error.code in ("CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN"):
                self.refresh()
            return str(error), Outcome.REFUSED if error.code in REFUSALS else Outcome.UNKNOWN
        except (OSError, ValueError) as error:
            self.drop(address)
            self.refresh()
            return str(error), Outcome.UNKNOWN


class Load:
    """`writers` threads with `keys` keys each, half of them registers, half journals; and `readers`.

    A fifth of the writers asks (WAIT 1) whether a replica has it, and knows of these that they may never be lost.
    """

    def __init__(self, addresses, writers=6, readers=2, keys=16, value_size=100, seed=1):
        self.addresses = list(addresses)
        self.registers, self.journals, self.reads = {}, {}, []
        self.value_size = value_size
        self.errors = {}  # first words of what was wrong: how often
        self.longest = 0.0  # the longest time between two acknowledged writes of anybody, seconds
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = []
        for index in range(writers):
            mine = []
            for number in range(keys):
                key = "w%d:%d" % (index, number)
                register = (Register if number % 2 == 0 else Journal)(key)
                (self.registers if number % 2 == 0 else self.journals)[key] = register
                mine.append(register)
            self._threads.append(threading.Thread(target=self._write, args=(mine, seed * 1000 + index, index % 5 == 0)))
        for index in range(readers):
            self._threads.append(threading.Thread(target=self._read, args=(seed * 2000 + index,)))
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def pause(self, slots, since):
        """The longest time without an acknowledged write of a key in these slots, from `since` on, seconds."""
        times = sorted(write.ended for register in (*self.registers.values(), *self.journals.values())
                       if any(first <= crc16(register.key.encode()) % SLOTS <= last for first, last in slots)
                       for write in register.writes if write.outcome is Outcome.ACKNOWLEDGED)
        before = [time for time in times if time < since][-1:] or [since]
        times = before + [time for time in times if time >= since]
        return max((later - sooner for sooner, later in zip(times, times[1:])), default=float("inf"))

    def acknowledged(self):
        return sum(write.outcome is Outcome.ACKNOWLEDGED
                   for register in (*self.registers.values(), *self.journals.values()) for write in register.writes)

    def forget_longest(self):
        with self._lock:
            self.longest, self._last = 0.0, time.monotonic()

    def _note(self, outcome, words, now):
        with self._lock:
            if outcome is Outcome.ACKNOWLEDGED:
                self.longest = max(self.longest, now - self._last)
                self._last = now
            else:
                told = " ".join(words.split(" ")[:3])
                self.errors[told] = self.errors.get(told, 0) + 1

    def _write(self, registers, seed, careful):
        chance = random.Random(seed)
        cluster = Cluster(self.addresses)
        filler = b"x" * self.value_size
        while not self._stop.is_set():
            register = chance.choice(registers)
            slot = crc16(register.key.encode()) % SLOTS
            write = register.begin(time.monotonic())
            if isinstance(register, Journal):
                words = ("APPEND", register.key, "%d;" % write.number)
            else:
                words = ("SET", register.key, b"%d %s" % (write.number, filler))
                if chance.random() < 0.3:
                    words += ("PX", chance.randrange(10 ** 8, 10 ** 9))
            reply, outcome = cluster.call(slot, *words)
            write.ended = time.monotonic()
            self._note(outcome, reply if isinstance(reply, str) else "", write.ended)
            if outcome is Outcome.ACKNOWLEDGED and careful:
                reply, asked = cluster.call(slot, "WAIT", "1", "100")
                write.replicated = asked is Outcome.ACKNOWLEDGED and reply >= 1
            write.outcome = outcome
            if outcome is not Outcome.ACKNOWLEDGED:
                self._stop.wait(0.01)
        cluster.close()

    def _read(self, seed):
        chance = random.Random(seed)
        cluster = Cluster(self.addresses)
        keys = list(self.registers)
        while not self._stop.is_set():
            key = chance.choice(keys)
            began = time.monotonic()
            reply, outcome = cluster.call(crc16(key.encode()) % SLOTS, "GET", key)
            ended = time.monotonic()
            if outcome is Outcome.ACKNOWLEDGED:
                self.reads.append(Read(key, began, ended, number_of(reply)))
            self._stop.wait(0.001)
        cluster.close()

    def final(self, patience=30):
        """What each key holds now, as its owner says."""
        cluster = Cluster(self.addresses)
        held = {}
        for key in (*self.registers, *self.journals):
            said = []

            def read():
                said[:] = cluster.call(crc16(key.encode()) % SLOTS, "GET", key)
                return said[1] is Outcome.ACKNOWLEDGED
            if not process.wait_until(read, patience, 0.05):
                raise AssertionError("%s cannot be read at the end: %s" % (key, said[0]))
            reply = said[0]
            held[key] = reply if key in self.journals or reply is None else b"%d" % number_of(reply)
        cluster.close()
        return held


def number_of(value):
    return 0 if value is None else int(value.split(b" ", 1)[0])
