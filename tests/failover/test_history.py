"""The judge is judged: it names each kind of wrong, and says nothing of what is right."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "ops" / "lib"))

import digests  # noqa: E402
from history import Journal, Outcome, Read, Register, judge  # noqa: E402

A, R, U = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN


def made(kind, *outcomes, replicated=()):
    register = kind("k")
    for at, outcome in enumerate(outcomes):
        write = register.begin(at * 10)
        write.outcome = outcome
        write.replicated = at + 1 in replicated
        if outcome is not U:
            write.ended = at * 10 + 5
    return register


def final(value, *outcomes, replicated=()):
    register = made(Register, *outcomes, replicated=replicated)
    return judge({"k": register}, {}, [], {"k": value})


def text(value, *outcomes, replicated=()):
    return judge({}, {"k": made(Journal, *outcomes, replicated=replicated)}, [], {"k": value})


def kinds(verdict):
    return [finding.kind for finding in verdict.findings]


def test_the_last_acknowledged_value_is_right():
    assert kinds(final(b"2", A, A)) == []
    assert kinds(final(None)) == []
    assert kinds(final(b"1", A, R)) == []


def test_an_unanswered_write_may_be_there_or_not():
    assert kinds(final(b"1", A, U)) == []
    assert kinds(final(b"2", A, U)) == []
    assert kinds(final(b"2", A, U, U)) == []
    assert kinds(final(b"2", A, U, A)) == []  # carried out late
    assert kinds(text(b"1;3;2;", A, U, A)) == []


def test_a_lost_write_is_counted():
    verdict = final(b"1", A, A, U, A)
    assert kinds(verdict) == ["lost"] and verdict.lost == 2 and verdict.lost_replicated == 0
    assert verdict.unexplained(may_lose=True) == []
    assert [finding.kind for finding in verdict.unexplained(may_lose=False)] == ["lost"]
    assert final(None, A).lost == 1


def test_what_a_replica_had_may_never_be_lost():
    verdict = final(b"1", A, A, A, replicated=(2,))
    assert verdict.lost_replicated == 1
    assert [finding.kind for finding in verdict.unexplained(may_lose=True)] == ["lost though replicated"]
    assert verdict.unexplained(may_lose=True, replicas_too=True) == []


def test_a_refused_write_must_not_be_there():
    assert kinds(final(b"2", A, R)) == ["refused write is there"]
    assert final(b"2", A, R).unexplained(may_lose=True)
    assert kinds(text(b"1;2;", A, R)) == ["refused write is there"]


def test_a_value_nobody_wrote():
    assert kinds(final(b"7", A)) == ["value nobody wrote"]
    assert kinds(text(b"1;9;", A)) == ["value nobody wrote"]


def test_a_journal_shows_what_is_there_twice_or_out_of_order_or_missing():
    assert kinds(text(b"1;2;3;", A, A, A)) == []
    assert kinds(text(b"1;3;", A, U, A)) == []
    assert kinds(text(b"1;2;2;", A, A, U)) == ["there twice"]
    assert kinds(text(b"1;2;1;", A, A, A)) == ["there twice"]
    assert kinds(text(b"1;3;2;", A, A, A)) == ["out of order"]
    lost = text(b"1;", A, A)
    assert kinds(lost) == ["lost"] and lost.lost == 1
    assert kinds(text(b"1;3;", A, A, A)) == ["hole"]
    assert text(b"", A, A, replicated=(1,)).lost_replicated == 1


def read_at(began, ended, number, *outcomes):
    register = made(Register, *outcomes)
    verdict = judge({"k": register}, {}, [Read("k", began, ended, number)], {"k": str(len(outcomes)).encode()})
    return kinds(verdict)


def test_reads_while_it_goes_on():
    assert read_at(6, 7, 1, A, A) == []
    assert read_at(6, 12, 2, A, A) == []  # the second began while it was read
    assert read_at(16, 17, 1, A, A) == ["older value"]
    assert read_at(12, 13, 1, A, A) == []  # the second has not been answered yet
    assert read_at(3, 6, 2, A, A) == ["value from the future"]
    assert read_at(3, 4, 0, A, A) == []


def test_a_difference_names_its_slots():
    held = {1: b"a", 2: b"b", 700: b"c"}
    assert digests.difference(held, dict(held)) == ""
    assert digests.difference(held, {**held, 700: b"d"}) == "slot 700"
    assert digests.difference({1: b"a", 2: b"b"}, {2: b"b", 3: b"c"}) == "slots 1, 3"
    assert digests.difference({}, {slot: b"a" for slot in range(12)}).endswith("8, 9 and 2 more")
