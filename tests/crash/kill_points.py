"""Kills a node, or ops/aof, at every named place between two steps of what it does on disk (storage/kill_point.h), and
at random instants of what takes long and happens seldom."""

import random
import re
import shutil
import subprocess
import time

import cells
import harness
import process
import redis_server
import replica_kills
import resp
import shape_kills
import tool_kills
from cells import Cell, Failure, Node, contents
from model import now_ms

# Where a node comes to each of them, by the first part of its name.
LIFE, REVIVAL, IMPORT, FIRST, SWITCH = "life", "revival", "import", "first start", "switch"
SCENARIOS = {"manifest": LIFE, "open": LIFE, "rotate": LIFE, "install": LIFE, "rewrite": LIFE, "rdb": LIFE,
             "close": LIFE, "create": FIRST, "revive": REVIVAL, "layout": IMPORT, "flip": IMPORT, "replace": IMPORT,
             "switch": SWITCH}
# Beside the points: at any instant.
AT_ANY_INSTANT = ("import", shape_kills.COMMAND)
IMPORTED_KEYS = 2000
IMPORT_SECONDS = 0.15  # about what the start takes that converts them


def names():
    """Every kill point there is, as the header lists them."""
    text = (cells.ROOT / "storage" / "kill_point.h").read_text(encoding="utf-8")
    listed = text[text.index("kKillPoints[] = {"):]
    return re.findall(r'^    "([a-z.-]+)",$', listed[:listed.index("};")], re.M)


def places():
    """What there is to visit: "POINT" of a node, "COMMAND:POINT" of ops/aof, and at any instant, ":random"."""
    points = names()
    listed = [point for point in points if point.split(".")[0] in SCENARIOS or replica_kills.place_of(point)]
    listed += ["%s:%s" % (replica_kills.WIPED, point) for point in replica_kills.WIPED_PLACES]
    listed += ["%s:%s" % (scenario, tool_kills.RANDOM) for scenario in AT_ANY_INSTANT]
    listed += ["%s:%s" % (shape_kills.COMMAND, point) for point in points if shape_kills.times(point)]
    for command in tool_kills.COMMANDS:
        listed += ["%s:%s" % (command, point) for point in [*points, tool_kills.RANDOM]
                   if point == tool_kills.RANDOM or tool_kills.times(command, point)]
    for point in points:
        if not any(place.split(":")[-1] == point for place in listed):
            raise Failure("nobody knows how to come to %s: add it to SCENARIOS, or to tool_kills.PLACES" % point)
    return listed


class Counts:
    """What a row of the table shows."""

    def __init__(self):
        self.rounds = self.acknowledged = self.missing = self.lost = self.rewrites = 0

    def add(self, run):
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(run, name))


def visit(place, seed, folder, library, tool, counts):
    """Brings a node or the tool to a place once, where it dies, and looks at what is left. Raises Failure."""
    command, _, point = place.rpartition(":")
    chance = random.Random("%s %s" % (place, seed))
    if command in tool_kills.COMMANDS:
        tool_kills.visit(command, point, chance, folder, tool, counts)
        return
    if command == shape_kills.COMMAND:
        shape_kills.visit(point, chance, folder, counts)
        return
    if command == replica_kills.WIPED or replica_kills.place_of(point):
        replica_kills.visit(place, chance, folder, tool, counts)
        return
    scenario = IMPORT if command == "import" else SCENARIOS[point.split(".")[0]]
    if scenario == LIFE:
        _life(point, chance, folder, seed, counts)
    elif scenario == FIRST:
        _first_start(point, folder, counts)
    elif scenario == REVIVAL:
        _revival(point, folder, library, counts)
    elif scenario == SWITCH:
        _switch(point, folder, counts)
    else:
        _import(point, chance, folder, counts)


class _Run(cells.Run):
    """A node that may be told to end, to come to its kill point."""

    ends = False

    def await_own_end(self, kill_at, seconds):
        if self.ends:
            time.sleep(self.chance.uniform(0.1, 0.4))  # Some load; then it is told to end.
            self.node.process.terminate()
        super().await_own_end(kill_at, seconds)


def _life(point, chance, folder, seed, counts):
    policy = chance.choice(("always", "everysec"))
    with _Run(Cell(2, policy, True, 2), folder / "node", "%s %s" % (point, seed)) as run:
        run.ends = point.startswith("close.")
        if point.startswith("rdb."):
            run.saves = b"BGSAVE"
        try:
            run.round(0.3)
            run.node.kill()
            _prepare(point, run.node.folder)
            nth = chance.randrange(1, 3) if point.split(".")[0] in ("rotate", "install", "manifest", "rewrite") else 1
            run.node.environment["SKEIN_KILL_AT"] = "%s:%d" % (point, nth)
            run.node.launch()
            if _serves(run.node):
                run.round(30, kill_at=point)
            else:
                if run.node.process.returncode != -9:
                    raise Failure("it ended with exit code %d, not by the kill point" % run.node.process.returncode)
                run.start_again()
                run.compare(time.monotonic())
            # And life goes on.
            run.round(0.3)
        finally:
            counts.add(run)


def _prepare(point, folder):
    """What must be there for a start to come to the point."""
    if point == "open.tail-cut":
        # A torn tail: behind the last record, half of another.
        incr = max((folder / "appendonlydir" / "shard-1").glob("incr.*"), key=lambda path: int(path.name.split(".")[1]))
        with open(incr, "ab") as file:
            file.write(b"\x01" * 57)


def _serves(node):
    """Waits until it serves all slots, or is gone."""
    def answered():
        if not node.is_running():
            return "gone"
        try:
            return node.cluster_info()["cluster_state"] == "ok"
        except (OSError, resp.Error):
            return False

    if not process.wait_until(answered, 30):
        raise Failure("it neither serves nor ends")
    return node.is_running()


def _await_kill(node, point, seconds=30):
    try:
        code = node.wait(seconds)
    except subprocess.TimeoutExpired:
        raise Failure("it never came to %s" % point) from None
    if code != -9:
        raise Failure("it ended with exit code %d, not by the kill point" % code)


def _first_start(point, folder, counts):
    """An empty folder becomes a data set, or stays empty."""
    node = Node(folder / "node", cluster_bootstrap="yes", appendonly="yes", appendfsync="always", save="",
                storage_shards=2)
    node.environment["SKEIN_KILL_AT"] = point
    try:
        node.launch()
        _await_kill(node, point)
        node.environment = {}
        node.ready()
        if node.call("SET", "key", "1") != b"OK":
            raise Failure("it takes no writes")
        node.kill()
        node.ready()
        _expect(node, {b"key": b"1"}, counts)
    finally:
        node.clean_up()


def _switch(point, folder, counts):
    """The log is switched on, or off and on; the node dies on the way. Whoever starts it finds what it held, or is told
    that the log is older than that."""
    off = point in ("switch.marked-off", "switch.detached")
    node = Node(folder / "node", cluster_bootstrap="yes", appendonly="yes", appendfsync="always", save="",
                storage_shards=2)
    wanted = {b"key:%d" % number: b"%d" % number for number in range(1000)}
    try:
        # Something stands where the new log will stand.
        node.ready()
        node.call("SET", "old", "1")
        node.terminate()
        if not off:
            node.directives["appendonly"] = "no"
        node.environment["SKEIN_KILL_AT"] = point
        node.ready()
        with node.client(timeout=30) as client:
            client.pipeline([["DEL", "old"], *[["SET", key, value] for key, value in wanted.items()], ["SAVE"]])
            try:
                client.call("CONFIG", "SET", "appendonly", "no" if off else "yes")
            except OSError:
                pass  # It died before the answer.
        _await_kill(node, point)
        node.environment = {}
        node.directives["appendonly"] = "yes"
        node.launch()
        if not _serves(node):
            if not off or node.process.returncode != 2 or "switched-off.md" not in node.log_text():
                raise Failure("it does not start: %s" % node.log_text()[-500:])
            node.directives["appendonly"] = "no"
            node.ready()
        _expect(node, wanted, counts)
    finally:
        node.clean_up()


def _revival(point, folder, library, counts):
    """A sync fails under everysec; on the way back the node dies."""
    data, control = folder / "data", folder / "control"
    data.mkdir(parents=True)
    control.write_text("")
    node = Node(folder / "node", dir=data, cluster_bootstrap="yes", appendonly="yes", appendfsync="everysec", save="",
                client_loops=2, storage_shards=2, auto_aof_rewrite_percentage="0")
    node.environment = {"LD_PRELOAD": str(library), "SKEIN_FAULT_DIR": str(data), "SKEIN_FAULT_CONTROL": str(control),
                        "SKEIN_KILL_AT": point}
    try:
        node.ready()
        with node.client(timeout=30) as client:
            for number in range(1000):
                client.call("SET", "key:%d" % number, number)
            written = process.wait_until(lambda: node.info("persistence")["aof_buffer_length"] == "0", 10)
            if not written:
                raise Failure("what was written does not reach the file")
            control.write_text("fdatasync fail 5\n")
            try:
                _write_until_refused(client)
                control.write_text("")
                _await_kill(node, point)
            except OSError:
                _await_kill(node, point)
        node.environment = {}
        node.ready()
        _expect(node, {b"key:%d" % number: b"%d" % number for number in range(1000)}, counts, others=b"later:")
    finally:
        node.clean_up()


def _write_until_refused(client):
    number, deadline = 0, time.monotonic() + 30
    while time.monotonic() < deadline:
        number += 1
        try:
            client.call("SET", "later:%d" % number, "1")
        except resp.Error:
            return
    raise Failure("a failed sync refused nothing")


def _expect(node, wanted, counts, others=None):
    """All that is wanted is there, and nothing else but keys that begin with `others`."""
    found, _ = contents(node)
    lost = [key for key, value in wanted.items() if found.get(key, (None,))[0] != value]
    strange = [key for key in found if key not in wanted and not (others and key.startswith(others))]
    counts.rounds += 1
    counts.acknowledged += len(wanted)
    counts.lost += len(lost)
    if lost or strange:
        raise Failure("%d keys are lost or wrong, such as %r; %d are strange, such as %r"
                      % (len(lost), lost[:3], len(strange), strange[:3]))


def _import(point, chance, folder, counts):
    """A folder of redis-server is converted at the first start, which dies on the way; the next one finds all of it."""
    if point == tool_kills.RANDOM:
        for number in range(tool_kills.RANDOM_KILLS):
            _import_once(point, chance, folder / str(number), counts)
    else:
        _import_once("%s:%d" % (point, chance.randrange(1, 3) if point.startswith("replace.") else 1), chance, folder,
                     counts)


def _import_once(point, chance, folder, counts):
    redis, data = folder / "redis", folder / "data"
    wanted = _redis_folder(redis, chance)
    shutil.copytree(redis, data)
    node = Node(folder / "node", dir=data, cluster_bootstrap="yes", appendonly="yes", appendfsync="always", save="",
                client_loops=2, storage_shards=4)
    try:
        if point == tool_kills.RANDOM:
            node.launch()
            time.sleep(chance.uniform(0, IMPORT_SECONDS))  # The instant is random: there is no event to wait for.
            node.kill()
        else:
            node.environment["SKEIN_KILL_AT"] = point
            node.launch()
            _await_kill(node, point)
            node.environment = {}
        node.ready()
        _expect(node, wanted, counts)
        # What was converted is kept from now on like everything else.
        if node.call("SET", "key:0", "new") != b"OK":
            raise Failure("the converted data set takes no writes")
        wanted[b"key:0"] = b"new"
        node.kill()
        node.ready()
        _expect(node, wanted, counts)
    finally:
        node.clean_up()


def _redis_folder(folder, chance):
    """The folder of a redis-server with a base and an incr file, or just an RDB file; its strings."""
    folder.mkdir(parents=True)
    with_log = chance.random() < 0.6
    redis_server.put_on_path()
    port = harness.free_port()
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save",
                               "", "--appendonly", "yes" if with_log else "no"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def client_or_none():
            try:
                return resp.Client(port)
            except OSError:
                return None

        with process.wait_until(client_or_none, 20) as client:
            wanted = {b"key:%d" % number: b"value %d" % number for number in range(IMPORTED_KEYS)}
            later = int(now_ms()) + 10 ** 9
            client.pipeline([("SET", key, value, "PXAT", later) if index % 3 == 0 else ("SET", key, value)
                             for index, (key, value) in enumerate(wanted.items())])
            if with_log:
                client.call("BGREWRITEAOF")
                process.wait_until(lambda: resp.fields(client.call("INFO"))["aof_rewrite_in_progress"] == "0", 20)
                client.pipeline([("APPEND", key, "+") for key in list(wanted)[:100]])
                for key in list(wanted)[:100]:
                    wanted[key] += b"+"
            client.send("SHUTDOWN", "NOSAVE" if with_log else "SAVE")
        server.wait(30)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait(30)
    return wanted
