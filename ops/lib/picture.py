"""The cluster as a picture in the terminal: nodes, roles, slot ranges, keys, memory, links."""

import dataclasses
import os

import cluster
import process
import resp
import terminal

BAR = 32  # characters for 16384 slots


@dataclasses.dataclass
class NodeView:
    port: int
    state: str = "down"  # down, silent, up
    role: str = ""
    node_id: str = ""
    primary_id: str = ""  # of a replica
    offset: int = 0  # bytes of its logs, all shards together
    following: bool = False  # a replica that hears its primary
    slots: list = dataclasses.field(default_factory=list)
    keys: int = 0
    memory: int = 0
    clients: int = 0
    rate: int = 0
    links_out: int = 0
    links_in: int = 0
    epoch: int = 0
    cluster_state: str = ""


def look(port):
    """What one node says of itself."""
    view = NodeView(port)
    if process.read_pid_file(cluster.pid_file(port)) is None:
        return view
    view.state = "silent"
    try:
        with resp.Client(port, timeout=3) as client:
            info = resp.fields(client.call("INFO"))
            state = resp.fields(client.call("CLUSTER", "INFO"))
            nodes = client.call("CLUSTER", "NODES").decode()
            view.keys = client.call("DBSIZE")
            links = client.call("CLUSTER", "LINKS")
    except (OSError, resp.Error):
        return view
    for line in nodes.splitlines():
        words = line.split()
        if "myself" in words[2]:
            view.node_id = words[0]
            view.role = "replica" if "slave" in words[2] else "primary"
            view.primary_id = words[3] if words[3] != "-" else ""
            view.slots = [tuple(int(end) for end in (word.split("-") * 2)[:2])
                          for word in words[8:] if not word.startswith("[")]
    for link in links:
        if isinstance(link, list):
            link = dict(zip(link[::2], link[1::2]))
        if link.get(b"class", b"control") != b"control":
            continue  # they come and go with what is published
        if link[b"direction"] == b"to":
            view.links_out += 1
        else:
            view.links_in += 1
    view.state = "up"
    view.memory = int(info["used_memory"])
    view.clients = int(info["connected_clients"]) - 1
    view.rate = int(info["instantaneous_ops_per_sec"])
    view.epoch = int(state["cluster_current_epoch"])
    view.offset = int(info.get("slave_repl_offset", info.get("master_repl_offset", 0)))
    view.following = info.get("master_link_status") == "up"
    view.cluster_state = state["cluster_state"]
    return view


def _bar(slots):
    full, empty = ("█", "·") if terminal.can_draw() else ("#", ".")
    cells = [0] * BAR
    for first, last in slots:
        for cell in range(first * BAR // cluster.SLOTS, last * BAR // cluster.SLOTS + 1):
            start, end = cell * cluster.SLOTS // BAR, (cell + 1) * cluster.SLOTS // BAR - 1
            cells[cell] += min(last, end) - max(first, start) + 1
    half = cluster.SLOTS // BAR // 2
    return "".join(full if cell > half else empty for cell in cells)


def _ranges(slots):
    return " ".join("%d" % first if first == last else "%d-%d" % (first, last) for first, last in slots) or "none"


def _mark(view, nodes):
    good, bad = ("●", "○") if terminal.can_draw() else ("+", "-")
    if view.state == "down":
        return terminal.paint(bad + " down", "red")
    if view.state == "silent":
        return terminal.paint(bad + " does not answer", "red")
    if view.cluster_state != "ok":
        return terminal.paint(bad + " cluster " + view.cluster_state, "red")
    if view.links_out < nodes - 1:
        return terminal.paint(good + " linking", "yellow")
    if view.role == "replica" and not view.following:
        return terminal.paint(good + " not following", "yellow")
    return terminal.paint(good + " ok", "green")


_STYLES = ("cyan", "magenta", "yellow", "blue", "green")


def _groups(views):
    """Primaries in order, each with its replicas behind it, then what belongs to nobody."""
    ids = {view.node_id: view for view in views if view.role == "primary"}
    ordered = []
    for view in views:
        if view.primary_id in ids:
            continue
        ordered.append(view)
        if view.role == "primary":
            ordered += [other for other in views if other.primary_id == view.node_id]
    return ordered


def _roles(views):
    """What stands in the column of roles: of a replica its primary, how far behind it is, and who would take over."""
    ids = {view.node_id: view for view in views if view.role == "primary"}
    best = {}
    for view in views:
        if view.following and (view.primary_id not in best or view.offset > best[view.primary_id].offset):
            best[view.primary_id] = view
    roles = {}
    for view in views:
        primary = ids.get(view.primary_id)
        if primary is None:
            roles[view.port] = view.role
            continue
        behind = max(0, primary.offset - view.offset)
        roles[view.port] = "replica of %d, %s behind%s" % (
            primary.port, terminal.size(behind), ", next" if best.get(view.primary_id) is view else "")
    return roles


def lines(plan):
    """The picture as lines of text, and whether all is well."""
    views = _groups([look(port) for port in plan.ports])
    roles = _roles(views)
    up = [view for view in views if view.state == "up"]
    covered = sum(last - first + 1 for view in up for first, last in view.slots)
    well = len(up) == len(views) and all(view.cluster_state == "ok" and (view.role == "primary" or view.following)
                                         for view in up)
    rows = [("node", "role", "slots", "", "keys", "memory", "clients", "ops/s", "links", "")]
    for view in views:
        name = "127.0.0.1:%d" % view.port
        if view.state != "up":
            rows.append((name, "", _bar([]), "", "", "", "", "", "", _mark(view, len(views))))
            continue
        links = "%d out, %d in" % (view.links_out, view.links_in)
        rows.append((name, roles[view.port], _bar(view.slots),
                     _ranges(view.slots) if view.role == "primary" else "", terminal.count(view.keys),
                     terminal.size(view.memory), terminal.count(view.clients), terminal.count(view.rate), links,
                     _mark(view, len(views))))
    right = {4, 5, 6, 7}
    widths = [max(len(row[column]) for row in rows) for column in range(9)]
    drawn = []
    for index, row in enumerate(rows):
        cells = []
        for column in range(9):
            text = row[column].rjust(widths[column]) if column in right else row[column].ljust(widths[column])
            if index == 0:
                text = terminal.paint(text, "dim")
            elif column == 0:
                text = terminal.paint(text, "bold")
            elif column == 2:
                text = terminal.paint(text, _STYLES[(index - 1) % len(_STYLES)])
            cells.append(text)
        drawn.append("  " + "  ".join(cells + [row[9]]).rstrip())
    epoch = max((view.epoch for view in up), default=0)
    head = "%d of %d nodes up, %s of %s slots served, %s keys, epoch %d" % (
        len(up), len(views), terminal.count(covered), terminal.count(cluster.SLOTS),
        terminal.count(sum(view.keys for view in up if view.role == "primary")), epoch)
    return ["  " + terminal.paint("the cluster is well" if well else "the cluster is not well",
                                  "bold", "green" if well else "red") + ": " + head, "", *drawn], well


def show(plan):
    text, well = lines(plan)
    terminal.say(os.linesep.join(text))
    return well
