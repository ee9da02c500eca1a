"""What is done to replica groups under load. Each fault leaves everything running again, and says what it saw.

What may be gone after it, under the default rule (replied once applied, replicated behind it): NOTHING; UNREPLICATED,
acknowledged writes that no replica had; or UNSYNCED, which no disk had where all who had them died (nothing with
appendfsync always).
"""

import contextlib
import dataclasses
import signal
import time
import typing

import process
import resp
from groups import Unexpected

NOTHING, UNREPLICATED, UNSYNCED = "nothing", "what no replica had", "what no disk had"


@dataclasses.dataclass
class Fault:
    act: typing.Callable
    gone: str
    cuts: bool = False  # needs namespaces, or a proxy in front of each node
    disk: bool = False  # needs the library of faults of a disk
    short: str = ""  # run in the short form: with this appendfsync, or over "wires"


def _pick_primary(groups):
    node, = groups.pick_primaries()
    groups.remember_hit(node)
    return node


def _pick_pair(groups):
    primary = _pick_primary(groups)
    return primary, groups.random.choice(groups.candidates_of[primary])


def _group(groups, primary):
    return [primary, *groups.candidates_of[primary]]


def _kill(*nodes):
    """At the same moment."""
    for node in nodes:
        node.process.send_signal(signal.SIGKILL)
    for node in nodes:
        node.process.wait(30)


def _bring_back(groups, *nodes):
    for node in nodes:
        node.start()
    for node in nodes:
        node.await_start()


def _numbers(nodes):
    return ", ".join(str(node.index) for node in nodes)


def _await_writes(primary, size):
    """Until its clients have written so many bytes more."""
    def end():
        return int(resp.fields(primary.call("INFO", "replication"))["master_repl_offset"])
    goal = end() + size
    if not process.wait_until(lambda: end() >= goal, 30):
        raise Unexpected("nobody writes to node %d" % primary.index)


def _timeouts(groups, count):
    time.sleep(groups.timeout_ms / 1000 * count)


# ---- Processes end ----


def kill_primary(groups):
    node = _pick_primary(groups)
    began = time.monotonic()
    node.kill()
    heir = groups.await_new_primary(node)
    took = time.monotonic() - began
    _bring_back(groups, node)
    return "node %d killed, %d took over after %.2f s, well %.1f s after its return" % (
        node.index, heir.index, took, groups.await_well())


def kill_replica(groups):
    primary, node = _pick_pair(groups)
    node.kill()
    _await_writes(primary, 20000)  # which it misses
    _bring_back(groups, node)
    return "replica %d killed, well %.1f s after its return" % (node.index, groups.await_well())


def kill_pair(groups):
    """A primary and its replica: nobody is left to take over, and nothing durable is lost."""
    nodes = _group(groups, _pick_primary(groups))
    _kill(*nodes)
    _bring_back(groups, *nodes)
    return "nodes %s killed together, well after %.1f s" % (_numbers(nodes), groups.await_well())


def kill_two_primaries(groups):
    """Where those left are no majority nobody is replaced, and both have to come back."""
    nodes = groups.pick_primaries(2)
    for node in nodes:
        groups.remember_hit(node)
    _kill(*nodes)
    if groups.primaries >= 5:
        heirs = [groups.await_new_primary(node) for node in nodes]
        seen = "%s took over" % _numbers(heirs)
    else:
        _timeouts(groups, 1.5)
        seen = "nobody may take over"
    _bring_back(groups, *nodes)
    return "primaries %s killed together, %s, well %.1f s after their return" % (
        _numbers(nodes), seen, groups.await_well())


def kill_primary_and_another_replica(groups):
    one, other = groups.pick_primaries(2)
    groups.remember_hit(one)
    replica = groups.random.choice(groups.candidates_of[other])
    _kill(one, replica)
    heir = groups.await_new_primary(one)
    _bring_back(groups, one, replica)
    return "primary %d and replica %d of %d killed together, %d took over, well %.1f s after their return" % (
        one.index, replica.index, other.index, heir.index, groups.await_well())


def kill_everything(groups):
    _kill(*groups.nodes)
    _bring_back(groups, *groups.nodes)
    return "all %d killed together, well after %.1f s" % (len(groups.nodes), groups.await_well())


def restart_everything(groups):
    """SIGTERM to all at once: whoever would take over is ending, too."""
    began = time.monotonic()
    for node in groups.nodes:
        node.process.send_signal(signal.SIGTERM)
    for node in groups.nodes:
        code = node.process.wait(60)
        if code != 0:
            raise Unexpected("node %d stopped with exit code %d:\n%s" % (node.index, code, node.log_text()[-2000:]))
    took = time.monotonic() - began
    _bring_back(groups, *groups.nodes)
    return "all %d ended together, in %.2f s, well after %.1f s" % (len(groups.nodes), took, groups.await_well())


def terminate_primary(groups):
    """SIGTERM hands over first: nothing acknowledged is lost."""
    node = _pick_primary(groups)
    began = time.monotonic()
    told = len(node.log_text())
    node.terminate()
    took = time.monotonic() - began
    refused = "stopping without" in node.log_text()[told:]
    if refused:  # on a machine too slow for an election in the time it has
        groups.excuse = UNREPLICATED
    heir = groups.await_new_primary(node)
    _bring_back(groups, node)
    return "node %d ended after %.2f s, %d has taken over%s, well after %.1f s" % (
        node.index, took, heir.index, " WITHOUT a hand-over" if refused else "", groups.await_well())


def fail_over_by_hand(groups):
    primary, replica = _pick_pair(groups)
    began = time.monotonic()
    for _ in range(10):  # given up after some seconds on a machine that is too slow
        if replica.call("ROLE")[0] == b"slave":
            replica.call("CLUSTER", "FAILOVER")
        with contextlib.suppress(Unexpected):
            groups.await_new_primary(primary, 6)
            break
    else:
        raise Unexpected("node %d does not take over by hand" % replica.index)
    return "%d took over from %d after %.3f s, well after %.1f s" % (
        replica.index, primary.index, time.monotonic() - began, groups.await_well())


# ---- They freeze ----


def stop_primary(groups):
    """SIGSTOP: it takes no write when it wakes up, though nobody has told it that it was replaced."""
    node = _pick_primary(groups)
    node.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        heir = groups.await_new_primary(node)
        took = time.monotonic() - began
    finally:
        node.process.send_signal(signal.SIGCONT)
    return "node %d stopped, %d took over after %.2f s, well %.1f s after SIGCONT" % (
        node.index, heir.index, took, groups.await_well())


def stop_pair(groups):
    """A primary and its replicas: nobody takes over, and they go on where they were."""
    nodes = _group(groups, _pick_primary(groups))
    for node in nodes:
        node.process.send_signal(signal.SIGSTOP)
    try:
        _timeouts(groups, 1.5)
    finally:
        for node in nodes:
            node.process.send_signal(signal.SIGCONT)
    return "nodes %s stopped for 1.5 timeouts, well %.1f s after SIGCONT" % (_numbers(nodes), groups.await_well())


# ---- In the middle of something ----


def kill_primary_in_full_sync(groups):
    """Its only replica has no whole data set: it must not take over."""
    return _kill_in_full_sync(groups, 0)


def kill_replica_in_full_sync(groups):
    return _kill_in_full_sync(groups, 1)


def _kill_in_full_sync(groups, which):
    pair = _pick_pair(groups)
    primary, replica = pair
    groups.fill(primary)
    groups.without_log(replica)
    seen = groups.await_info(replica, "replication", "master_sync_in_progress", "1", 2)
    pair[which].kill()
    _bring_back(groups, pair[which])
    return "%s %d killed while %d was synchronized%s, well %.1f s after its return" % (
        ("primary", "replica")[which], pair[which].index, replica.index, "" if seen else " (or after)", groups.await_well())


def kill_primary_in_rewrite(groups):
    primary, _ = _pick_pair(groups)
    groups.fill(primary)
    primary.call("BGREWRITEAOF")
    seen = groups.await_info(primary, "persistence", "aof_rewrite_in_progress", "1", 1)
    primary.kill()
    heir = groups.await_new_primary(primary)
    _bring_back(groups, primary)
    return "node %d killed while it rewrote its log%s, %d took over, well %.1f s after its return" % (
        primary.index, "" if seen else " (or after)", heir.index, groups.await_well())


def kill_pair_in_rewrite(groups):
    nodes = _group(groups, _pick_primary(groups))
    groups.fill(nodes[0])
    for node in nodes:
        node.call("BGREWRITEAOF")
    seen = groups.await_info(nodes[0], "persistence", "aof_rewrite_in_progress", "1", 1)
    _kill(*nodes)
    _bring_back(groups, *nodes)
    return "nodes %s killed while they rewrote their logs%s, well after %.1f s" % (
        _numbers(nodes), "" if seen else " (or after)", groups.await_well())


# ---- Disks ----


def slow_disk(groups):
    """Not so slow that the node would be given up."""
    node = groups.random.choice(_pick_pair(groups))
    groups.disks[node].slow(groups.timeout_ms // 4)
    _timeouts(groups, 1)
    groups.disks[node].says()
    return "each sync of node %d took %d ms more, well after %.1f s" % (
        node.index, groups.timeout_ms // 4, groups.await_well())


def hanging_disk(groups):
    """Its data plane stands still, and that is reason enough to be replaced."""
    primary = _pick_primary(groups)
    began = time.monotonic()
    groups.disks[primary].slow(groups.timeout_ms * 4)
    heir = groups.await_new_primary(primary)
    took = time.monotonic() - began
    groups.disks[primary].says()
    return "syncs of node %d hung, %d took over after %.2f s, well after %.1f s" % (
        primary.index, heir.index, took, groups.await_well())


def _await_refusals(groups, node):
    def refuses():
        return resp.fields(node.call("INFO", "persistence"))["aof_last_write_status"] == "err"
    if not process.wait_until(refuses, 30):
        raise Unexpected("node %d does not say that its disk is full" % node.index)


def full_disk_of_primary(groups):
    """Writes are refused until there is room."""
    node = _pick_primary(groups)
    groups.disks[node].full()
    _await_refusals(groups, node)
    _timeouts(groups, 0.5)
    groups.disks[node].says()
    return "the disk of node %d was full for a while, well after %.1f s" % (node.index, groups.await_well())


def full_disk_of_replica(groups):
    _, node = _pick_pair(groups)
    groups.disks[node].full()
    _await_refusals(groups, node)
    _timeouts(groups, 0.5)
    groups.disks[node].says()
    return "the disk of replica %d was full for a while, well after %.1f s" % (node.index, groups.await_well())


def full_disk_and_kill(groups):
    """What it could not write is gone with it, and the replica has it or not."""
    node = _pick_primary(groups)
    groups.disks[node].full()
    _await_refusals(groups, node)
    _kill(node)
    heir = groups.await_new_primary(node)
    groups.disks[node].says()
    _bring_back(groups, node)
    return "node %d killed with a full disk, %d took over, well %.1f s after its return" % (
        node.index, heir.index, groups.await_well())


# ---- Wires ----


def _cut_off(groups, to_others, from_others):
    node = _pick_primary(groups)
    others = [other.index for other in groups.nodes if other is not node]
    began = time.monotonic()
    if to_others:
        groups.net.cut([node.index], others)
    if from_others:
        groups.net.cut(others, [node.index])
    heir = groups.await_new_primary(node)
    took = time.monotonic() - began

    def down():
        return node.cluster_info()["cluster_state"] == "fail"
    if not process.wait_until(down, groups.timeout_ms / 1000 * 3 + 10):
        raise Unexpected("the primary that was cut off does not say that the cluster is down")
    groups.net.heal()
    return "node %d cut off, %d took over after %.2f s, well %.1f s after healing" % (
        node.index, heir.index, took, groups.await_well())


def cut_primary_off(groups):
    """Neither direction: it stops taking writes by itself, and a replica takes over."""
    return _cut_off(groups, True, True)


def mute_primary(groups):
    """What it sends reaches nobody; it hears all."""
    return _cut_off(groups, True, False)


def deafen_primary(groups):
    """It reaches all, and hears nobody."""
    return _cut_off(groups, False, True)


def _cut_replication(groups, seconds):
    """A replica and its primary do not reach each other for a while; everybody else does."""
    primary, replica = _pick_pair(groups)
    full = resp.fields(primary.call("INFO", "stats"))["sync_full"]
    groups.net.cut([primary.index], [replica.index])
    groups.net.cut([replica.index], [primary.index])
    time.sleep(seconds)
    groups.net.heal()
    well = groups.await_well()
    if primary not in groups.roles():
        raise Unexpected("node %d was replaced, though all others reached it" % primary.index)
    if resp.fields(primary.call("INFO", "stats"))["sync_full"] != full:
        raise Unexpected("replica %d was synchronized as a whole after a cut" % replica.index)
    return "%d and %d cut off from each other for %.0f s, well after %.1f s by the records alone" % (
        primary.index, replica.index, seconds, well)


def cut_replication(groups):
    return _cut_replication(groups, groups.timeout_ms / 1000)


def cut_replication_for_long(groups):
    return _cut_replication(groups, 10)


def cut_full_sync(groups):
    primary, replica = _pick_pair(groups)
    groups.fill(primary)
    groups.without_log(replica)
    seen = groups.await_info(replica, "replication", "master_sync_in_progress", "1", 2)
    groups.net.cut([primary.index], [replica.index])
    groups.net.cut([replica.index], [primary.index])
    _timeouts(groups, 1)
    groups.net.heal()
    return "%d and %d cut off from each other while the one was synchronized%s, well after %.1f s" % (
        primary.index, replica.index, "" if seen else " (or after)", groups.await_well())


FAULTS = {
    "kill-primary": Fault(kill_primary, UNREPLICATED, short="everysec"),
    "kill-replica": Fault(kill_replica, NOTHING, short="always"),
    "kill-pair": Fault(kill_pair, UNSYNCED, short="always"),
    "kill-two-primaries": Fault(kill_two_primaries, UNREPLICATED),
    "kill-primary-and-another-replica": Fault(kill_primary_and_another_replica, UNREPLICATED),
    "kill-everything": Fault(kill_everything, UNSYNCED, short="always"),
    "restart-everything": Fault(restart_everything, NOTHING, short="everysec"),
    "terminate-primary": Fault(terminate_primary, NOTHING, short="everysec"),
    "failover-by-hand": Fault(fail_over_by_hand, NOTHING, short="everysec"),
    "stop-primary": Fault(stop_primary, UNREPLICATED, short="everysec"),
    "stop-pair": Fault(stop_pair, NOTHING),
    "kill-primary-in-full-sync": Fault(kill_primary_in_full_sync, UNSYNCED, short="always"),
    "kill-replica-in-full-sync": Fault(kill_replica_in_full_sync, NOTHING),
    "kill-primary-in-rewrite": Fault(kill_primary_in_rewrite, UNREPLICATED),
    "kill-pair-in-rewrite": Fault(kill_pair_in_rewrite, UNSYNCED, short="always"),
    "slow-disk": Fault(slow_disk, NOTHING, disk=True, short="always"),
    "hanging-disk": Fault(hanging_disk, UNREPLICATED, disk=True, short="everysec"),
    "full-disk-of-primary": Fault(full_disk_of_primary, NOTHING, disk=True, short="always"),
    "full-disk-of-replica": Fault(full_disk_of_replica, NOTHING, disk=True),
    "full-disk-and-kill": Fault(full_disk_and_kill, UNREPLICATED, disk=True),
    "cut-primary-off": Fault(cut_primary_off, UNREPLICATED, cuts=True, short="wires"),
    "mute-primary": Fault(mute_primary, UNREPLICATED, cuts=True, short="wires"),
    "deafen-primary": Fault(deafen_primary, UNREPLICATED, cuts=True),
    "cut-replication": Fault(cut_replication, NOTHING, cuts=True, short="wires"),
    "cut-replication-for-long": Fault(cut_replication_for_long, NOTHING, cuts=True),
    "cut-full-sync": Fault(cut_full_sync, NOTHING, cuts=True),
}
