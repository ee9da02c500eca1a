"""What is done to replica groups under load. Each fault leaves everything running again, and says what it saw.

What may be gone after it, under the default rule (replied once applied, replicated behind it): NOTHING; UNREPLICATED,
acknowledged writes that no replica had; or UNSYNCED, which no disk had where all who had them died (nothing with
appendfsync always).
"""

import signal
import time

import process
from groups import Unexpected


def _pick_primary(groups):
    roles = groups.remember_groups()
    return groups.random.choice([node for node, replicas in sorted(roles.items(), key=lambda item: item[0].index)
                                 if replicas])


def _bring_back(groups, *nodes):
    for node in nodes:
        node.start()
    for node in nodes:
        node.await_start()


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
    primary = _pick_primary(groups)
    node = groups.random.choice(groups.candidates_of[primary])
    node.kill()
    time.sleep(0.5)  # writes that it misses
    _bring_back(groups, node)
    return "replica %d killed, well %.1f s after its return" % (node.index, groups.await_well())


def kill_pair(groups):
    """A primary and its replica at the same moment: nobody is left to take over, and nothing durable is lost."""
    primary = _pick_primary(groups)
    nodes = [primary, *groups.candidates_of[primary]]
    for node in nodes:
        node.process.send_signal(signal.SIGKILL)
    for node in nodes:
        node.process.wait(30)
    _bring_back(groups, *nodes)
    return "nodes %s killed together, well after %.1f s" % ([node.index for node in nodes], groups.await_well())


def kill_everything(groups):
    for node in groups.nodes:
        node.process.send_signal(signal.SIGKILL)
    for node in groups.nodes:
        node.process.wait(30)
    _bring_back(groups, *groups.nodes)
    return "all %d killed together, well after %.1f s" % (len(groups.nodes), groups.await_well())


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


def terminate_primary(groups):
    """SIGTERM hands over first: nothing acknowledged is lost."""
    node = _pick_primary(groups)
    began = time.monotonic()
    node.terminate()
    took = time.monotonic() - began
    heir = groups.await_new_primary(node)
    _bring_back(groups, node)
    return "node %d ended after %.2f s, %d has taken over, well after %.1f s" % (
        node.index, took, heir.index, groups.await_well())


def fail_over_by_hand(groups):
    primary = _pick_primary(groups)
    replica = groups.random.choice(groups.candidates_of[primary])
    began = time.monotonic()
    replica.call("CLUSTER", "FAILOVER")
    groups.await_new_primary(primary)
    return "%d took over from %d after %.3f s, well after %.1f s" % (
        replica.index, primary.index, time.monotonic() - began, groups.await_well())


def cut_primary_off(groups):
    """Neither direction: it stops taking writes by itself, and a replica takes over."""
    node = _pick_primary(groups)
    others = [other.index for other in groups.nodes if other is not node]
    began = time.monotonic()
    groups.net.cut([node.index], others)
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


def cut_replication(groups):
    """A replica and its primary do not reach each other for a while; everybody else does."""
    primary = _pick_primary(groups)
    replica = groups.random.choice(groups.candidates_of[primary])
    groups.net.cut([primary.index], [replica.index])
    groups.net.cut([replica.index], [primary.index])
    time.sleep(groups.timeout_ms / 1000)
    groups.net.heal()
    return "%d and %d cut off from each other for %d ms, well after %.1f s" % (
        primary.index, replica.index, groups.timeout_ms, groups.await_well())


NOTHING, UNREPLICATED, UNSYNCED = "nothing", "what no replica had", "what no disk had"
# name: (function, what may be gone, needs namespaces)
FAULTS = {
    "kill-primary": (kill_primary, UNREPLICATED, False),
    "kill-replica": (kill_replica, NOTHING, False),
    "kill-pair": (kill_pair, UNSYNCED, False),
    "kill-everything": (kill_everything, UNSYNCED, False),
    "stop-primary": (stop_primary, UNREPLICATED, False),
    "terminate-primary": (terminate_primary, NOTHING, False),
    "failover-by-hand": (fail_over_by_hand, NOTHING, False),
    "cut-primary-off": (cut_primary_off, UNREPLICATED, True),
    "cut-replication": (cut_replication, NOTHING, True),
}
