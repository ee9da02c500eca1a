"""What a client knows: the state of its keys after each of its commands, and which of them were answered.

A unit is what one client writes to one shard. Commands of one unit run in the order in which they were sent, so what a
crash leaves must be the state after the first n of them, for one n. Nobody else writes these keys.
"""

import time

FAR = 1 << 62


def now_ms():
    return time.time() * 1000


class Expiry:
    """When a key ends: known exactly, or as an interval that the reply closes (EXPIRE counts from when it runs)."""

    __slots__ = ("low", "high")

    def __init__(self, low, high=None):
        self.low, self.high = low, low if high is None else high

    def __repr__(self):
        return "%d" % self.low if self.low == self.high else "%d..%s" % (self.low, self.high if self.high < FAR else "")


class Held:
    """A value with its expiry (None: it has none). Never changed once made, apart from the end of an open interval."""

    __slots__ = ("value", "expiry")

    def __init__(self, value, expiry=None):
        self.value, self.expiry = value, expiry

    def __repr__(self):
        value = self.value if len(self.value) <= 40 else self.value[:40] + b"... (%d bytes)" % len(self.value)
        return "%r" % value if self.expiry is None else "%r until %r" % (value, self.expiry)


# A loop looks at its clock once a turn: an expiry that it works out may be this much older than the command.
CLOCK_SLACK_MS = 250


def agrees(expected, found, checked_at):
    """Whether `found`, (value, PEXPIRETIME), or None, is what `expected` (Held or None) says."""
    if expected is None:
        return found is None
    if found is None:
        return expected.expiry is not None and expected.expiry.low - CLOCK_SLACK_MS <= checked_at
    value, expires = found
    if value != expected.value:
        return False
    if expected.expiry is None:
        return expires == -1
    if expected.expiry.low == expected.expiry.high:
        return expires == expected.expiry.low
    return expected.expiry.low - CLOCK_SLACK_MS <= expires <= expected.expiry.high + CLOCK_SLACK_MS


class Step:
    """One command that was sent: what it changed, when it was answered."""

    __slots__ = ("changes", "flushes", "shared", "answered", "open_expiry")

    def __init__(self, changes, flushes=0, is_shared=False, open_expiry=None):
        self.changes = changes  # [(key, Held before, Held after)]
        self.flushes = flushes  # how many flushes came before it, itself included
        self.shared = 0 if is_shared else None  # of an INCR of the counter that all clients share: the reply
        self.answered = None  # time.monotonic()
        self.open_expiry = open_expiry


class Unit:
    """See above. `state` is that after everything sent. Its client's thread uses it; between rounds, the driver."""

    def __init__(self, name, shard):
        self.name, self.shard = name, shard
        self.state = {}
        self.known = set()  # every key that it may ever have made
        self.steps = []
        self.acknowledged = 0  # steps answered: always the first so many
        self.flushes = 0

    def send(self, changes, is_shared=False, open_expiry=None):
        """Notes a command that is about to be sent; `changes` is {key: Held or None}."""
        listed = []
        for key, after in changes.items():
            listed.append((key, self.state.get(key), after))
            self._set(key, after)
            self.known.add(key)
        step = Step(listed, self.flushes, is_shared, open_expiry)
        self.steps.append(step)
        return step

    def send_flush(self):
        """Notes that the whole database is about to be flushed."""
        self.flushes += 1
        return self.send({key: None for key in list(self.state)})

    def answer(self, step, at):
        step.answered = at
        if step.open_expiry is not None:
            opened = step.open_expiry
            opened.high = opened.low + (now_ms() - opened.sent)
        self.acknowledged += 1

    def _set(self, key, held):
        if held is None:
            self.state.pop(key, None)
        else:
            self.state[key] = held

    def go_to(self, at, target):
        """Moves `state` from that after `at` steps to that after `target`."""
        while at > target:
            at -= 1
            for key, before, _ in reversed(self.steps[at].changes):
                self._set(key, before)
        while at < target:
            for key, _, after in self.steps[at].changes:
                self._set(key, after)
            at += 1

    def matches(self, found, checked_at):
        """Every n for which the state after n steps is what was found: {key: (value, PEXPIRETIME)}. Newest first."""
        total = len(self.steps)
        expected = dict(self.state)
        differing = {key for key in self.known | set(found)
                     if not agrees(expected.get(key), found.get(key), checked_at)}
        numbers = []
        for n in range(total, -1, -1):
            if not differing:
                numbers.append(n)
            if n == 0:
                break
            for key, before, _ in reversed(self.steps[n - 1].changes):
                expected[key] = before
                if agrees(before, found.get(key), checked_at):
                    differing.discard(key)
                else:
                    differing.add(key)
        return numbers

    def flushes_after(self, n):
        """How many flushes of this round are among the first n steps."""
        return self.steps[n - 1].flushes if n else 0

    def settle(self, n):
        """The crash left the state after n steps: life goes on from there."""
        self.go_to(len(self.steps), n)
        self.steps = []
        self.acknowledged = 0
        self.flushes = 0


class OpenExpiry(Expiry):
    """An interval from `ttl_ms` after now on; Unit.answer closes it."""

    __slots__ = ("sent",)

    def __init__(self, ttl_ms):
        self.sent = now_ms()
        super().__init__(self.sent + ttl_ms, FAR)
