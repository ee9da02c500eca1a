"""Compares what a crash left with what the clients know to be acknowledged."""

import dataclasses

from model import agrees

@dataclasses.dataclass
class Promise:
    """What a policy promises. Of what was acknowledged longer than `window` seconds before the end, nothing is lost."""

    exact: bool  # everything acknowledged is there
    window: float


ALWAYS = Promise(True, 0.0)
# One second, and one sync; SIGKILL takes only what had not been written yet.
EVERYSEC = Promise(False, 2.0)
# Nothing is promised about power; what the writer has given to the system survives SIGKILL, and it does not dawdle.
NO = Promise(False, 2.0)
PROMISES = {"always": ALWAYS, "everysec": EVERYSEC, "no": NO}


@dataclasses.dataclass
class Verdict:
    acknowledged: int = 0
    missing: int = 0  # acknowledged and gone, within what the policy allows
    lost: int = 0  # acknowledged and gone, against the promise
    wrong: list = dataclasses.field(default_factory=list)  # everything else that may not be, in words

    @property
    def ok(self):
        return not self.lost and not self.wrong


def least(unit, promise, ended):
    """How many of the unit's steps must be there."""
    if promise.exact:
        return unit.acknowledged
    number = unit.acknowledged
    while number and unit.steps[number - 1].answered > ended - promise.window:
        number -= 1
    return number


def judge(units, shared, found, promise, ended, checked_at):
    """`found`: {key: (value, PEXPIRETIME)} of all that the node holds. `shared`: by shard, the key that all its clients
    count up, and its value when the round began. `ended`: time.monotonic() when the node died. `checked_at`: the time
    of the look, in milliseconds since 1970. Settles the units on what was found if all is well."""
    verdict = Verdict()
    belongs = {}
    for unit in units:
        for key in unit.known:
            belongs[key] = unit
    counters = {key for key, _ in shared.values()}
    stray = [key for key in found if key not in belongs and key not in counters]
    if stray:
        verdict.wrong.append("%d keys that nobody wrote: %r" % (len(stray), sorted(stray)[:3]))
    mine = {unit: {} for unit in units}
    for key, held in found.items():
        if key in belongs:
            mine[belongs[key]][key] = held
    settled = []
    for shard, (counter, began) in shared.items():
        members = [unit for unit in units if unit.shard == shard]
        choice = _judge_shard(members, mine, counter, began, found, promise, ended, checked_at, verdict)
        if choice:
            settled += choice
    verdict.acknowledged = sum(unit.acknowledged for unit in units)
    if verdict.ok:
        for unit, n in settled:
            unit.settle(n)
    return verdict


def _judge_shard(units, mine, counter, began, found, promise, ended, checked_at, verdict):
    numbers = {unit: unit.matches(mine[unit], checked_at) for unit in units}
    for unit in units:
        if not numbers[unit]:
            verdict.wrong.append("%s: no prefix of its %d commands (%d acknowledged) gives what is there%s"
                                 % (unit.name, len(unit.steps), unit.acknowledged,
                                    _difference(unit, mine[unit], checked_at)))
    if not all(numbers.values()):
        return None
    value = int(found[counter][0]) if counter in found else 0
    # All clients of a shard share its log, so they share one cut: the same flushes, the same values of the counter.
    for flushes in sorted({unit.flushes_after(n) for unit in units for n in numbers[unit]}, reverse=True):
        start = began if flushes == 0 else 0
        choice = []
        for unit in units:
            fitting = [n for n in numbers[unit] if unit.flushes_after(n) == flushes and _fits(unit, n, flushes, value)]
            if not fitting:
                break
            choice.append((unit, fitting[0]))
        else:
            highest = sum(step.shared is not None and step.flushes == flushes for unit in units for step in unit.steps)
            if value < start or value - start > highest:
                verdict.wrong.append("shard %d: %d counted from %d with %d commands" % (units[0].shard, value, start,
                                                                                        highest))
                return None
            for unit, n in choice:
                gone = max(0, unit.acknowledged - n)
                lost = max(0, least(unit, promise, ended) - n)
                verdict.lost += lost
                verdict.missing += gone - lost
                if lost:
                    verdict.wrong.append("%s: %d of %d acknowledged commands are gone" % (unit.name, gone,
                                                                                         unit.acknowledged))
            return choice
    verdict.wrong.append("shard %d: its clients' commands were not cut at one place (counter %d)"
                         % (units[0].shard, value))
    return None


def _fits(unit, n, flushes, value):
    """Whether the counter's replies agree that the unit was cut after n steps, its shard at `value` of the counter."""
    for index, step in enumerate(unit.steps):
        if step.shared and step.flushes == flushes and (index < n) != (step.shared <= value):
            return False
    return True


def _difference(unit, found, checked_at):
    """What differs from the state after the acknowledged commands, for a person."""
    unit.go_to(len(unit.steps), unit.acknowledged)
    texts = []
    for key in sorted(unit.known | set(found)):
        if not agrees(unit.state.get(key), found.get(key), checked_at):
            texts.append("\n      %r: found %.120r, acknowledged %.120r" % (key, found.get(key), unit.state.get(key)))
    unit.go_to(unit.acknowledged, len(unit.steps))
    return "".join(texts[:6]) + ("\n      and %d more" % (len(texts) - 6) if len(texts) > 6 else "")
