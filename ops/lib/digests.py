"""What data sets hold, slot by slot: keys, values and expiries as DEBUG SLOT-DIGEST sums them up."""

SLOTS = 16384
_AT_ONCE = 2048


def by_slot(client, of=range(SLOTS)):
    """{slot: digest} of those slots of `of` that hold keys. `client`: of a node with enable-debug-command."""
    told = {}
    for first in range(0, len(of), _AT_ONCE):
        slots = of[first:first + _AT_ONCE]
        for slot, digest in zip(slots, client.pipeline([("DEBUG", "SLOT-DIGEST", slot) for slot in slots])):
            if digest.strip(b"0"):
                told[slot] = digest
    return told


def difference(one, other):
    """Words about the slots that differ between two answers of by_slot; "" if none does."""
    slots = sorted(slot for slot in one.keys() | other.keys() if one.get(slot) != other.get(slot))
    if not slots:
        return ""
    return "slot%s %s%s" % ("" if len(slots) == 1 else "s", ", ".join(map(str, slots[:10])),
                            " and %d more" % (len(slots) - 10) if len(slots) > 10 else "")
