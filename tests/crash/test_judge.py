"""The judge catches what it is there to catch: each mistake is made on purpose, in a node that is a list of records.

The honest node passes first, with the same commands; then every mistake must be found. Without these, a matrix that
finds nothing proves nothing.
"""

import pathlib
import random
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(ROOT / "ops" / "lib"), str(ROOT / "tests" / "e2e")]

import clients  # noqa: E402
import harness  # noqa: E402
import judge  # noqa: E402
from commands import any_command  # noqa: E402
from model import Held, OpenExpiry, now_ms  # noqa: E402

SHARDS = 4
SESSIONS = 3
ENDED = 1000.0  # on the clock that answers are stamped with
DELAY_MS = 5000  # between a command and its replay


class Record:
    """An entry of a fake log."""

    def __init__(self, step, changes, session, at, shared=None):
        self.step, self.changes, self.session, self.at, self.shared = step, changes, session, at, shared


class FakeNode:
    """Commands of several clients in a random order, with one log a shard, and a crash to come.

    `unanswered`: how many of the last commands of each client were not answered."""

    def __init__(self, seed, unanswered=3, per_client=150, flush=False):
        chance = random.Random(seed)
        self.chance = chance
        self.sessions = [clients.ClientState(number, SHARDS, harness.key_slot) for number in range(SESSIONS)]
        self.units = [unit for session in self.sessions for unit in session.units]
        self.logs = {shard: [] for shard in range(SHARDS)}
        tags = clients.tags_of_shards("shared", SHARDS, 1, harness.key_slot)
        self.counters = {shard: b"{%s}" % tags[shard][0] for shard in range(SHARDS)}
        self.values = dict.fromkeys(range(SHARDS), 0)
        self.sent = []
        order = [number for number in range(SESSIONS) for _ in range(per_client)]
        chance.shuffle(order)
        for index, number in enumerate(order):
            at = ENDED - 10 + 10 * index / len(order)
            self.command(number, at)
            if flush and index == len(order) // 2:
                self.flush(at)
        # Replies come in the order of the commands of a client.
        left = {number: unanswered for number in range(SESSIONS)}
        late = set()
        for number, _, step, _ in reversed(self.sent):
            if left[number] > 0:
                left[number] -= 1
                late.add(step)
        for number, unit, step, at in self.sent:
            if step not in late:
                unit.answer(step, at)

    def command(self, number, at):
        session = self.sessions[number]
        session.counter += 1
        shard = self.chance.randrange(SHARDS)
        unit = session.units[shard]
        if self.chance.random() < 0.1:
            step = unit.send({}, is_shared=True)
            self.values[shard] += 1
            step.shared = self.values[shard]
            self.logs[shard].append(Record(step, {}, number, at, shared=self.values[shard]))
        else:
            tag = self.chance.choice(session.tags[shard])
            _, _, changes, opened = any_command(self.chance, tag, session.counter)
            step = unit.send(changes, open_expiry=opened)
            self.logs[shard].append(Record(step, changes, number, at))
        self.sent.append((number, unit, step, at))

    def flush(self, at):
        for number, session in enumerate(self.sessions):
            for unit in session.units:
                self.sent.append((number, unit, unit.send_flush(), at))
        for shard, log in self.logs.items():
            log.append(Record(None, None, 0, at))
            self.values[shard] = 0

    def replay(self, logs=None, again=False, shown=lambda shard, key: True):
        """What a start makes of the logs. `again`: expiries count from the replay, as the client's words would have
        it. `shown`: whether a key that was found in a shard's log can be found there."""
        found = {}
        for shard, log in (logs or self.logs).items():
            for record in log:
                if record.changes is None:  # a flush
                    for key in [key for key in found if self.shard_of(key) == shard]:
                        del found[key]
                    continue
                if record.shared is not None:
                    found[self.counters[shard]] = (b"%d" % record.shared, -1)
                for key, held in record.changes.items():
                    if held is None:
                        found.pop(key, None)
                    elif shown(shard, key):
                        found[key] = (held.value, self.expires(held, again))
        now = now_ms()
        return {key: held for key, held in found.items() if held[1] == -1 or held[1] > now}

    @staticmethod
    def expires(held, again):
        if held.expiry is None:
            return -1
        if isinstance(held.expiry, OpenExpiry):
            return int(held.expiry.low) + 3 + (DELAY_MS if again else 0)
        return held.expiry.low

    @staticmethod
    def shard_of(key):
        return harness.key_slot(key) % SHARDS

    def judge(self, found, policy="always"):
        return judge.judge(self.units, {shard: (key, 0) for shard, key in self.counters.items()}, found,
                           judge.PROMISES[policy], ENDED, now_ms() + DELAY_MS)

    def cut(self, keep):
        """The logs, each up to a place: keep(shard, log) says how much of it."""
        return {shard: log[:keep(shard, log)] for shard, log in self.logs.items()}


SEEDS = range(5)


@pytest.fixture(params=SEEDS)
def node(request):
    return FakeNode(request.param)


def answered(record):
    return record.step is None or record.step.answered is not None


def acknowledged_end(log):
    """Behind the last record that was answered: an honest log under `always` holds at least so much."""
    return max((index + 1 for index, record in enumerate(log) if answered(record)), default=0)


def test_an_honest_node_passes_with_all_it_was_sent(node):
    verdict = node.judge(node.replay())
    assert verdict.ok and not verdict.missing, verdict.wrong
    assert verdict.acknowledged == SESSIONS * (150 - 3)
    assert all(not unit.steps for unit in node.units), "the next round begins from here"


def test_an_honest_node_passes_with_what_was_acknowledged_alone(node):
    verdict = node.judge(node.replay(node.cut(lambda _, log: acknowledged_end(log))))
    assert verdict.ok and not verdict.missing, verdict.wrong


@pytest.mark.parametrize("seed", SEEDS)
def test_an_honest_node_passes_across_a_flush(seed):
    node = FakeNode(seed, flush=True)
    verdict = node.judge(node.replay())
    assert verdict.ok, verdict.wrong


@pytest.mark.parametrize("policy", ("everysec", "no"))
def test_a_prefix_within_the_window_passes_and_is_counted(node, policy):
    # Ten seconds of load; the last second and a half is gone.
    logs = node.cut(lambda _, log: sum(record.at <= ENDED - 1.5 for record in log))
    verdict = node.judge(node.replay(logs), policy)
    assert verdict.ok and verdict.missing > 0 and verdict.lost == 0, verdict.wrong


@pytest.mark.parametrize("policy", ("everysec", "no"))
def test_L05_more_than_the_window_is_lost(node, policy):
    logs = node.cut(lambda _, log: sum(record.at <= ENDED - 4 for record in log))
    assert node.judge(node.replay(logs), policy).lost > 0


def test_L05_recovery_that_skips_the_shards_beyond_the_first(node):
    logs = {shard: log if shard == 0 else [] for shard, log in node.logs.items()}
    verdict = node.judge(node.replay(logs))
    assert verdict.lost > 50, "about three quarters of all"
    assert not verdict.ok


def test_L06_a_reply_before_the_sync(node):
    # The last answered record of one shard was still on its way to the disk.
    shard = next(shard for shard, log in node.logs.items() if acknowledged_end(log))
    logs = node.cut(lambda at, log: acknowledged_end(log) - (1 if at == shard else 0))
    verdict = node.judge(node.replay(logs))
    record = node.logs[shard][acknowledged_end(node.logs[shard]) - 1]
    # One that changes nothing, as DEL of what is not there, makes no record: nobody can miss it.
    assert not verdict.ok or not (record.changes or record.shared), record.changes


def test_L07_a_record_in_the_log_of_the_sessions_shard(node):
    # Each session sends all its records to one shard's log; a start finds keys where their slot says.
    logs = {shard: [] for shard in node.logs}
    for log in node.logs.values():
        for record in log:
            logs[record.session % SHARDS].append(record)
    verdict = node.judge(node.replay(logs, shown=lambda shard, key: node.shard_of(key) == shard))
    assert not verdict.ok and len(verdict.wrong) > SHARDS


def test_L07_a_cut_of_the_sessions_log_is_no_prefix_of_a_shards(node):
    # Even if a start put the keys where they belong, what is torn off is torn off in the wrong order.
    logs = {session: [] for session in range(SESSIONS)}
    for shard, log in node.logs.items():
        for record in log:
            logs[record.session].append((record.at, shard, record))
    kept = {shard: [] for shard in node.logs}
    for session, log in logs.items():
        log.sort(key=lambda entry: entry[0])
        for _, shard, record in log[:len(log) - 20 * (session + 1)]:
            kept[shard].append(record)
    verdict = node.judge(node.replay({shard: sorted(log, key=lambda record: record.at)
                                      for shard, log in kept.items()}), "no")
    assert not verdict.ok


def test_L08_the_clients_words_are_logged_instead_of_the_effect(node):
    # EXPIRE and PX count from the replay: keys live too long, and some that were gone are back.
    assert node.judge(node.replay()).ok
    node = FakeNode(node.chance.random())
    verdict = node.judge(node.replay(again=True))
    assert not verdict.ok


def test_L09_a_record_that_is_replayed_twice(node):
    for shard, log in node.logs.items():
        grown = next((index for index, record in enumerate(log) if record.shared == 2), None)
        if grown is None:
            continue
        logs = dict(node.logs)
        logs[shard] = [*log[:grown + 1], *log[grown:]]
        for record in logs[shard][grown + 1:]:
            record.shared = record.shared and record.shared + 1
        verdict = node.judge(node.replay(logs))
        assert not verdict.ok, "the counter is ahead of every client's reply"
        return
    pytest.fail("no shard counted to two")


def test_L18_a_record_that_was_dropped_from_the_middle(node):
    caught = 0
    for shard, log in node.logs.items():
        # The last change of a key: nothing behind it hides that it is gone.
        seen = set()
        for index in range(acknowledged_end(log) - 1, -1, -1):
            keys = set(log[index].changes or ())
            if answered(log[index]) and keys and not keys & seen and any(log[index].changes.values()) and not any(
                    isinstance(held.expiry, OpenExpiry) for held in log[index].changes.values() if held):
                fake = {**node.logs, shard: [*log[:index], *log[index + 1:]]}
                if node.replay(fake) != node.replay():
                    assert not node.judge(node.replay(fake)).ok
                    caught += 1
                break
            seen |= keys
    assert caught


def test_L20_half_a_command_of_several_keys(node):
    for shard, log in node.logs.items():
        for index in range(len(log) - 1, -1, -1):
            changes = log[index].changes
            if changes and len(changes) >= 2 and all(changes.values()):
                half = dict(list(changes.items())[:1])
                logs = {**node.logs, shard: [*log[:index], Record(log[index].step, half, 0, 0)]}
                verdict = node.judge(node.replay(logs), "no")
                assert any("no prefix" in text for text in verdict.wrong), verdict.wrong
                return
    pytest.fail("no MSET among the commands")


def test_L20_a_rename_of_which_only_the_deletion_is_left(node):
    for shard, log in node.logs.items():
        for index, record in enumerate(log):
            changes = record.changes or {}
            if len(changes) == 2 and list(changes.values())[0] is None and list(changes.values())[1] is not None:
                half = {key: held for key, held in changes.items() if held is None}
                logs = {**node.logs, shard: [*log[:index], Record(record.step, half, 0, 0)]}
                assert not node.judge(node.replay(logs), "no").ok
                return
    pytest.fail("no RENAME among the commands")


@pytest.mark.parametrize("seed", SEEDS)
def test_L21_a_shard_that_did_not_drain_at_the_end(seed):
    # A clean end answers everything and then loses the last batch of one shard.
    node = FakeNode(seed, unanswered=0)
    shard = max(node.logs, key=lambda at: len(node.logs[at]))
    logs = {**node.logs, shard: node.logs[shard][:-8]}
    assert node.judge(node.replay(logs)).lost > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flush_that_a_shard_has_missed(seed):
    node = FakeNode(seed, flush=True)
    shard = next(iter(node.logs))
    logs = {**node.logs, shard: [record for record in node.logs[shard] if record.changes is not None]}
    assert not node.judge(node.replay(logs)).ok


def test_a_key_that_nobody_wrote(node):
    found = node.replay()
    found[b"stranger"] = (b"1", -1)
    assert any("nobody wrote" in text for text in node.judge(found).wrong)


def test_one_wrong_byte(node):
    found = node.replay()
    key = next(key for key in sorted(found) if key not in node.counters.values())
    value, expires = found[key]
    found[key] = (value[:-1] + bytes([value[-1] ^ 1]), expires)
    assert not node.judge(found).ok


def test_clients_of_one_shard_cut_at_different_places():
    # Each client's part is a prefix of its own, but together they are none of the log.
    caught = 0
    for seed in range(10):
        node = FakeNode(seed)
        shard = max(node.logs, key=lambda at: sum(record.shared is not None for record in node.logs[at]))
        log = node.logs[shard]
        middle = len(log) // 2
        kept = [record for index, record in enumerate(log) if index < middle or record.session == 0]
        caught += not node.judge(node.replay({**node.logs, shard: kept}), "no").ok
    assert caught == 10


def test_a_value_that_did_not_change_is_no_reason_to_fail():
    # Two commands that leave the same state: the cut may be before or behind the second.
    node = FakeNode(1, per_client=0)
    unit = node.units[0]
    key = node.sessions[0].tags[0][0].keys[0]
    for answered_at in (ENDED, None):
        step = unit.send({key: Held(b"same")})
        if answered_at:
            unit.answer(step, answered_at)
    assert node.judge({key: (b"same", -1)}).ok
