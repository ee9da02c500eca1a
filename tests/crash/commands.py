"""Random commands on the keys of one slot, with the reply that each must have and what it must change."""

from model import Expiry, Held, OpenExpiry, now_ms

KEYS = 12  # a tag
DAY_MS = 86_400_000


class Tag:
    """The keys of one hash tag: one slot, so one shard. `unit` keeps what they hold."""

    def __init__(self, unit, tag):
        self.unit = unit
        self.tag = b"{%s}" % tag
        self.keys = [self.tag + b"k%d" % number for number in range(KEYS)]
        self.number = self.tag + b"number"


def _value(chance, counter):
    size = chance.random()
    length = 0 if size < 0.5 else chance.randrange(200) if size < 0.97 else chance.randrange(30000)
    return b"%d:" % counter + b"abcdefghij"[counter % 10:counter % 10 + 1] * length


def any_command(chance, tag, counter):
    """(words, reply, {key: Held after}, open expiry or None): the next command on this tag."""
    kind = chance.choices(_KINDS, _WEIGHTS)[0]
    return kind(chance, tag, tag.unit.state, counter)


def _set(chance, tag, state, counter):
    key, value = chance.choice(tag.keys), _value(chance, counter)
    old = state.get(key)
    way = chance.random()
    if way < 0.5:
        return (b"SET", key, value), b"OK", {key: Held(value)}, None
    if way < 0.6:
        expiry = OpenExpiry(chance.randrange(1, 50) * DAY_MS)
        return ((b"SET", key, value, b"PX", int(expiry.low - expiry.sent)), b"OK", {key: Held(value, expiry)}, expiry)
    if way < 0.7:
        at = int(now_ms()) + chance.randrange(1, 50) * DAY_MS
        return (b"SET", key, value, b"PXAT", at), b"OK", {key: Held(value, Expiry(at))}, None
    if way < 0.8:
        return (b"SET", key, value, b"KEEPTTL"), b"OK", {key: Held(value, old.expiry if old else None)}, None
    if way < 0.9:
        return ((b"SET", key, value, b"GET"), old.value if old else None, {key: Held(value)}, None)
    if way < 0.95:
        return (b"SET", key, value, b"NX"), None if old else b"OK", {} if old else {key: Held(value)}, None
    return (b"SET", key, value, b"XX"), b"OK" if old else None, {key: Held(value)} if old else {}, None


def _short_lived(chance, tag, _, counter):
    # Keys of their own: nobody can say what a command on them would find.
    key, value = tag.tag + b"short%d" % chance.randrange(3), _value(chance, counter)
    expiry = OpenExpiry(chance.randrange(1, 400))
    return (b"SET", key, value, b"PX", int(expiry.low - expiry.sent)), b"OK", {key: Held(value, expiry)}, expiry


def _count(chance, tag, state, _):
    old = state.get(tag.number)
    number = int(old.value) if old else 0
    words, number = chance.choice((((b"INCR", tag.number), number + 1), ((b"INCRBY", tag.number, 7), number + 7),
                                   ((b"DECR", tag.number), number - 1)))
    return words, number, {tag.number: Held(b"%d" % number, old.expiry if old else None)}, None


def _append(chance, tag, state, counter):
    key, suffix = chance.choice(tag.keys), b"+%d" % counter
    old = state.get(key)
    if old and len(old.value) > 40000:
        return _delete(chance, tag, state, counter)
    value = (old.value if old else b"") + suffix
    return (b"APPEND", key, suffix), len(value), {key: Held(value, old.expiry if old else None)}, None


def _set_range(chance, tag, state, counter):
    key, offset, part = chance.choice(tag.keys), chance.randrange(300), b"<%d>" % counter
    old = state.get(key)
    value = old.value if old else b""
    value = value[:offset].ljust(offset, b"\0") + part + value[offset + len(part):]
    return ((b"SETRANGE", key, offset, part), len(value), {key: Held(value, old.expiry if old else None)}, None)


def _delete(chance, tag, state, _):
    keys = chance.sample(tag.keys, chance.choice((1, 1, 3)))
    there = sum(key in state for key in keys)
    return (chance.choice((b"DEL", b"UNLINK")), *keys), there, {key: None for key in keys if key in state}, None


def _get_and_delete(chance, tag, state, _):
    key = chance.choice(tag.keys)
    old = state.get(key)
    return (b"GETDEL", key), old.value if old else None, {key: None} if old else {}, None


def _expire(chance, tag, state, _):
    key = chance.choice(tag.keys)
    old = state.get(key)
    if chance.random() < 0.5:
        at = int(now_ms()) + chance.randrange(1, 50) * DAY_MS
        words, expiry, opened = (b"PEXPIREAT", key, at), Expiry(at), None
    else:
        days = chance.randrange(1, 50)
        expiry = opened = OpenExpiry(days * DAY_MS)
        words = (b"EXPIRE", key, days * DAY_MS // 1000)
    if not old:
        return words, 0, {}, None
    return words, 1, {key: Held(old.value, expiry)}, opened


def _persist(chance, tag, state, _):
    key = chance.choice(tag.keys)
    old = state.get(key)
    if not old or old.expiry is None:
        return (b"PERSIST", key), 0, {}, None
    return (b"PERSIST", key), 1, {key: Held(old.value)}, None


def _rename(chance, tag, state, counter):
    there = [key for key in tag.keys if key in state]
    if not there:
        return _set(chance, tag, state, counter)
    source, target = chance.choice(there), chance.choice(tag.keys)
    if source == target:
        return (b"RENAME", source, target), b"OK", {}, None
    return (b"RENAME", source, target), b"OK", {source: None, target: state[source]}, None


def _copy(chance, tag, state, _):
    source, target = chance.sample(tag.keys, 2)
    old = state.get(source)
    return (b"COPY", source, target, b"REPLACE"), 1 if old else 0, {target: old} if old else {}, None


def _set_several(chance, tag, _, counter):
    keys = chance.sample(tag.keys, chance.randrange(2, 6))
    words, changes = [b"MSET"], {}
    for key in keys:
        value = _value(chance, counter)
        words += [key, value]
        changes[key] = Held(value)
    return tuple(words), b"OK", changes, None


_KINDS, _WEIGHTS = zip((_set, 30), (_short_lived, 2), (_count, 16), (_append, 12), (_set_range, 6), (_delete, 8),
                       (_get_and_delete, 2), (_expire, 6), (_persist, 2), (_rename, 4), (_copy, 3), (_set_several, 8))
