"""The local cluster of ops/up: a folder a node under .cluster/, processes that outlive the script, slots spread evenly."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import subprocess

import bazel
import ports
import process
import resp

FOLDER = pathlib.Path(os.environ.get("SKEIN_CLUSTER_DIR", bazel.ROOT / ".cluster"))
SLOTS = 16384
BUS_OFFSET = 10000
START_TIMEOUT = 60  # seconds until a node answers PING
FORM_TIMEOUT = 60  # seconds until every node says cluster_state:ok


class Problem(Exception):
    """What a person must know and can act on."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was asked of ops/up; kept in .cluster/cluster.json."""

    nodes: int  # primaries, when it is formed
    port: int
    binary: str
    replicas: int = 0  # of each primary

    @property
    def primaries(self):
        return [self.port + index for index in range(self.nodes)]

    @property
    def total(self):
        return self.nodes * (1 + self.replicas)

    @property
    def ports(self):
        return [self.port + index for index in range(self.total)]

    def first_primary_of(self, port):
        """The primary that the replica at this port gets when the cluster is formed."""
        return self.port + (port - self.port) % self.nodes

    def same(self, other):
        return (self.nodes, self.port, self.replicas) == (other.nodes, other.port, other.replicas)

    def words(self):
        text = "%d nodes from port %d" % (self.total, self.port)
        return text if not self.replicas else text + ", %d of them replicas" % (self.nodes * self.replicas)

    def save(self):
        aside = FOLDER / "cluster.json.new"
        aside.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
        aside.replace(FOLDER / "cluster.json")

    @staticmethod
    def load():
        """The plan of the cluster that is there, or None."""
        try:
            return Plan(**json.loads((FOLDER / "cluster.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise Problem("%s/cluster.json is damaged (%s); delete the folder to begin anew" % (FOLDER, error)) from error


def node_folder(port):
    return FOLDER / ("node-%d" % port)


def pid_file(port):
    return str(node_folder(port) / "node.pid")


def running(plan):
    """Ports of the nodes whose processes run."""
    return [port for port in plan.ports if process.read_pid_file(pid_file(port))]


@contextlib.contextmanager
def locked():
    """Keeps a second ops/up or ops/down away while one is at work."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("another ops/up or ops/down is at work in %s" % FOLDER) from None
        yield


def check_ports(plan, already=()):
    """Names the first port that is taken."""
    for port in plan.ports:
        if port in already:
            continue
        for wanted, what in ((port, "clients"), (port + BUS_OFFSET, "the cluster bus")):
            if not ports.is_free(wanted):
                raise Problem("port %d (%s of node %d) is taken by %s; choose another first port with --port"
                              % (wanted, what, port, ports.holder(wanted) or "another process"))


def wipe(plan):
    """Deletes the folders of a cluster that does not run."""
    for port in plan.ports:
        shutil.rmtree(node_folder(port), ignore_errors=True)
    (FOLDER / "cluster.json").unlink(missing_ok=True)


def _configuration(port):
    return "\n".join([
        "# Written by ops/up.",
        "bind 127.0.0.1",
        "port %d" % port,
        "cluster-enabled yes",
        "cluster-config-file nodes.conf",
        "cluster-node-timeout 5000",
        "appendonly yes",
        "appendfsync everysec",
        "",
    ])


def start_node(plan, port):
    """Starts one node's process and waits until it answers."""
    folder = node_folder(port)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "skein.conf").write_text(_configuration(port), encoding="utf-8")
    with open(folder / "node.log", "ab") as log:
        child = subprocess.Popen([plan.binary, "skein.conf"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=subprocess.STDOUT, start_new_session=True)
    process.write_pid_file(pid_file(port), child.pid)

    def answers():
        if child.poll() is not None:
            return "exited"
        try:
            with resp.Client(port, timeout=5) as client:
                client.call("PING")
                return "answers"
        except (OSError, resp.Error):
            return None

    outcome = process.wait_until(answers, START_TIMEOUT)
    if outcome == "exited":
        raise Problem("node %d ended with exit code %d at its start; the end of %s says:\n%s"
                      % (port, child.returncode, folder / "node.log", log_tail(port)))
    if outcome is None:
        raise Problem("node %d does not answer after %d s; see %s" % (port, START_TIMEOUT, folder / "node.log"))


def log_tail(port, lines=8):
    try:
        text = (node_folder(port) / "node.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "  (no log)"
    return "\n".join("  " + line for line in text.splitlines()[-lines:])


def spread(nodes):
    """Slot ranges (first, last), as even as can be."""
    bounds = [SLOTS * index // nodes for index in range(nodes + 1)]
    return [(bounds[index], bounds[index + 1] - 1) for index in range(nodes)]


def form(plan):
    """Gives each node its slots and lets the nodes meet; they find each other over the bus."""
    for index, (port, (first, last)) in enumerate(zip(plan.primaries, spread(plan.nodes))):
        with resp.Client(port) as client:
            state = resp.fields(client.call("CLUSTER", "INFO"))
            if state["cluster_slots_assigned"] == "0":
                client.call("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
    with resp.Client(plan.port) as client:
        for port in plan.ports[1:]:
            client.call("CLUSTER", "MEET", "127.0.0.1", port)
    await_ok(plan)
    if plan.replicas:
        _attach_replicas(plan)


def _attach_replicas(plan):
    """Each node behind the primaries follows one of them; waits until all have what their primaries have."""
    ids = {}
    for port in plan.primaries:
        with resp.Client(port) as client:
            ids[port] = client.call("CLUSTER", "MYID")
    for port in plan.ports[plan.nodes:]:
        with resp.Client(port) as client:
            client.call("CLUSTER", "REPLICATE", ids[plan.first_primary_of(port)])
    await_replicas(plan)


def replication(port):
    """The fields of INFO replication, or None if the node does not answer."""
    try:
        with resp.Client(port, timeout=5) as client:
            return resp.fields(client.call("INFO", "replication"))
    except (OSError, resp.Error):
        return None


def await_replicas(plan):
    """Waits until as many replicas as there should be have what their primaries have, whichever nodes they are."""
    def following():
        states = [replication(port) for port in plan.ports]
        return sum(1 for state in states if state and state["role"] == "slave" and
                   state["master_link_status"] == "up") == plan.nodes * plan.replicas

    if not process.wait_until(following, FORM_TIMEOUT, 0.05):
        raise Problem("not every replica has what its primary has after %d s; `redis-cli -p PORT info replication` "
                      "says how far it is" % FORM_TIMEOUT)


def is_ok(plan, port):
    try:
        with resp.Client(port, timeout=5) as client:
            state = resp.fields(client.call("CLUSTER", "INFO"))
    except (OSError, resp.Error):
        return False
    return (state["cluster_state"] == "ok" and state["cluster_slots_assigned"] == str(SLOTS)
            and int(state["cluster_known_nodes"]) == plan.total)


def await_ok(plan):
    """Waits until every node knows every other and says that the cluster is well."""
    for port in plan.ports:
        if not process.wait_until(lambda port=port: is_ok(plan, port), FORM_TIMEOUT, 0.05):
            raise Problem("node %d does not see a whole cluster after %d s; `redis-cli -p %d cluster info` says what "
                          "it sees, %s what happened" % (port, FORM_TIMEOUT, port, node_folder(port) / "node.log"))
