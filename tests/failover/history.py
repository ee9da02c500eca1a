"""What clients were told, and whether what is read agrees with it.

Every key has one writer, which waits for each answer before it goes on, and never tries the same value twice. So the
order of a key's writes is known, and what is read can be explained: as what was acknowledged last, or as something that
was asked for afterwards and never answered. What cannot be explained is named: a write that was acknowledged is lost, an
older value has come back, a refused write is there, something is there twice, a value nobody wrote.
"""

import bisect
import dataclasses
import enum


class Outcome(enum.Enum):
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"  # an error reply: it must not have been carried out
    UNKNOWN = "unknown"  # the connection broke, or no answer came in time: it may have been, then or later


@dataclasses.dataclass
class Write:
    number: int  # of the key's writes, from 1
    began: float
    ended: float
    outcome: Outcome
    replicated: bool = False  # a replica has said (WAIT) that it has it


@dataclasses.dataclass
class Read:
    key: str
    began: float
    ended: float
    number: int  # of the write whose value was read; 0: the key was not there


@dataclasses.dataclass
class Finding:
    kind: str
    key: str
    words: str


# Which findings a fault may leave behind; everything else is a bug whatever was done to the cluster.
LOSSES = ("lost", "older value")


class Register:
    """A key that is SET to `number` and read back."""

    def __init__(self, key):
        self.key = key
        self.writes = []
        self._acknowledged = None  # those of them, once a read is judged

    def begin(self, now):
        self.writes.append(Write(len(self.writes) + 1, now, float("inf"), Outcome.UNKNOWN))
        return self.writes[-1]

    def last(self, *outcomes):
        return max((write.number for write in self.writes if write.outcome in outcomes), default=0)

    def _explain(self, number, known, began):
        """Why `number` may not be read where `known` was the last one acknowledged, or None if it may."""
        if number < 0 or number > len(self.writes):
            return Finding("value nobody wrote", self.key, "write %d of %d" % (number, len(self.writes)))
        if number and self.writes[number - 1].outcome is Outcome.REFUSED:
            return Finding("refused write is there", self.key, "write %d" % number)
        if number and self.writes[number - 1].began > began:
            return Finding("value from the future", self.key, "write %d" % number)
        if number >= known or (number and self.writes[number - 1].outcome is Outcome.UNKNOWN):
            return None  # what was never answered may have been carried out late, after what was sent behind it
        between = sum(1 for write in self.writes[number:known] if write.outcome is Outcome.ACKNOWLEDGED)
        return Finding("older value", self.key, "write %d was read, %d acknowledged ones behind it" % (number, between))

    def judge_read(self, read):
        """Once no more is written."""
        if self._acknowledged is None:
            self._acknowledged = [write for write in self.writes if write.outcome is Outcome.ACKNOWLEDGED]
        # One writer: they ended in the order of their numbers.
        behind = bisect.bisect_right(self._acknowledged, read.began, key=lambda write: write.ended)
        known = self._acknowledged[behind - 1].number if behind else 0
        return self._explain(read.number, known, read.ended)

    def judge_final(self, number):
        """(finding or None, acknowledged writes lost, of these such that a replica had)."""
        known = self.last(Outcome.ACKNOWLEDGED)
        finding = self._explain(number, known, float("inf"))
        if finding is None or finding.kind != "older value":
            return finding, 0, 0
        lost = [write for write in self.writes[number:] if write.outcome is Outcome.ACKNOWLEDGED]
        return (Finding("lost", self.key, "ends at write %d, %d was acknowledged" % (number, known)), len(lost),
                sum(write.replicated for write in lost))


class Journal(Register):
    """A key that each write appends its number to: shows what is there twice, and what is missing in between."""

    def judge_final_text(self, text):
        have, highest = set(), 0
        for number in (int(word) for word in text.decode().split(";") if word):
            finding = self._explain(number, 0, float("inf"))
            if finding is not None:
                return finding, 0, 0
            if number in have:
                return Finding("there twice", self.key, "write %d" % number), 0, 0
            if number < highest and self.writes[number - 1].outcome is not Outcome.UNKNOWN:
                return Finding("out of order", self.key, "write %d behind %d" % (number, highest)), 0, 0
            have.add(number)
            highest = max(highest, number)
        lost = [write for write in self.writes
                if write.outcome is Outcome.ACKNOWLEDGED and write.number not in have]
        if not lost:
            return None, 0, 0
        words = "%d acknowledged ones are missing, the first is %d of %d" % (len(lost), lost[0].number,
                                                                              len(self.writes))
        # A hole with acknowledged ones behind it is no lost end: what came later was built upon nothing.
        end = max(have, default=0)
        kind = "hole" if any(write.number < end for write in lost) else "lost"
        return Finding(kind, self.key, words), len(lost), sum(write.replicated for write in lost)


@dataclasses.dataclass
class Verdict:
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    reads: int = 0
    lost: int = 0
    lost_replicated: int = 0
    findings: list = dataclasses.field(default_factory=list)

    def count(self, kind):
        return sum(finding.kind == kind for finding in self.findings)

    def unexplained(self, may_lose, replicas_too=False):
        """What no fault excuses. `may_lose`: acknowledged writes may be gone; `replicas_too`: also those that a replica had."""
        found = [finding for finding in self.findings if not (may_lose and finding.kind in LOSSES + ("hole",))]
        if self.lost_replicated and not replicas_too:
            found.append(Finding("lost though replicated", "", "%d writes that a replica had" % self.lost_replicated))
        return found

    def words(self):
        kinds = sorted({finding.kind for finding in self.findings})
        told = ", ".join("%s %d" % (kind, self.count(kind)) for kind in kinds) or "nothing to explain"
        return "%d acknowledged, %d refused, %d unknown, %d reads; lost %d (a replica had %d); %s" % (
            self.acknowledged, self.refused, self.unknown, self.reads, self.lost, self.lost_replicated, told)


def judge(registers, journals, reads, final):
    """`final`: what each key holds at the end, bytes or None."""
    verdict = Verdict(reads=len(reads))
    for register in list(registers.values()) + list(journals.values()):
        for write in register.writes:
            verdict.acknowledged += write.outcome is Outcome.ACKNOWLEDGED
            verdict.refused += write.outcome is Outcome.REFUSED
            verdict.unknown += write.outcome is Outcome.UNKNOWN
    for read in reads:
        finding = registers[read.key].judge_read(read)
        if finding is not None:
            verdict.findings.append(finding)

    def note(result):
        finding, lost, replicated = result
        verdict.lost += lost
        verdict.lost_replicated += replicated
        if finding is not None:
            verdict.findings.append(finding)
    for key, register in registers.items():
        value = final[key]
        note(register.judge_final(0 if value is None else int(value)))
    for key, journal in journals.items():
        note(journal.judge_final_text(final[key] or b""))
    return verdict
