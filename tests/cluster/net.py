"""Where the nodes of a fleet live: each has an address of its own, which can change.

Loopback: 127.77.x.y of this machine; needs no rights. Namespaces: a network namespace a node, joined by routes through
one more, where the test itself moves in; needs root and iproute2, and can cut any node off from any other, either way.
(Routes, not a bridge: each node has one neighbour, while on a bridge 40 of them would have more than the 1024 that the
kernel keeps for all namespaces together.)
"""

import ctypes
import os
import subprocess


def _run(*words, text=None):
    done = subprocess.run(words, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(words), done.stdout.strip()))


class Loopback:
    can_cut = False

    def __init__(self):
        self._next = 0

    def add(self, index):
        pass

    def new_address(self, index):
        self._next += 1
        # Another range for each process, so that fleets side by side do not meet.
        base = os.getpid() % 200
        return "127.%d.%d.%d" % (50 + base, self._next // 250, self._next % 250 + 1)

    def wrap(self, index, hosts):
        return []

    def announced(self, index):
        """Where others are to look for the node; None: where it is."""
        return None

    def directives(self, index):
        return {}

    def name(self, index, node_id):
        pass

    def close(self):
        pass


class Namespaces(Loopback):
    can_cut = True

    def __init__(self):
        self._prefix = "skein%d" % os.getpid()
        self._made = []
        self._next = 1
        self._nodes = {}
        self._cuts = set()
        hub = self._add("hub")
        self._ip(hub, "link set lo up", "addr add 10.77.0.1/32 dev lo")
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._enter("/run/netns/" + hub)
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
            file.write("1")

    @staticmethod
    def possible():
        return os.geteuid() == 0 and subprocess.run(
            ["ip", "netns", "list"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def add(self, index):
        name = self._add(str(index))
        hub = self._prefix + "-hub"
        _run("ip", "-n", hub, "link", "add", "v%d" % index, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._ip(hub, "link set v%d up" % index)
        self._ip(name, "link set lo up", "link set eth0 up")
        self._nodes[index] = [name, None]

    def new_address(self, index):
        """Gives the node another address, and takes the one away that it had."""
        self._next += 1
        address = "10.77.%d.%d" % (self._next // 250, self._next % 250 + 1)
        name, old = self._nodes[index]
        hub = self._prefix + "-hub"
        self._ip(name, "addr add %s/32 dev eth0" % address)
        if old is None:
            self._ip(name, "route add 10.77.0.1/32 dev eth0", "route add default via 10.77.0.1 dev eth0")
        else:
            # After the new one has come: without any, the routes would go, too.
            self._ip(name, "addr del %s/32 dev eth0" % old)
            self._ip(hub, "route del %s/32 dev v%d" % (old, index))
        self._ip(hub, "route add %s/32 dev v%d src 10.77.0.1" % (address, index))
        self._nodes[index][1] = address
        return address

    def wrap(self, index, hosts):
        """The words before a command that runs as this node, with `hosts` as its /etc/hosts."""
        return ["ip", "netns", "exec", self._nodes[index][0], "sh", "-c",
                'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]

    def cut(self, from_nodes, to_nodes):
        """What `from_nodes` send no longer reaches `to_nodes`."""
        for source in from_nodes:
            lines = []
            for target in to_nodes:
                if source != target and (source, target) not in self._cuts:
                    self._cuts.add((source, target))
                    lines.append("route add blackhole %s/32" % self._nodes[target][1])
            if lines:
                self._ip(self._nodes[source][0], *lines)

    def heal(self):
        by_source = {}
        for source, target in self._cuts:
            by_source.setdefault(source, []).append("route del blackhole %s/32" % self._nodes[target][1])
        self._cuts.clear()
        for source, lines in by_source.items():
            self._ip(self._nodes[source][0], *lines)

    def close(self):
        self._enter("/proc/self/fd/%d" % self._home)
        os.close(self._home)
        for name in self._made:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def _add(self, name):
        name = "%s-%s" % (self._prefix, name)
        _run("ip", "netns", "add", name)
        self._made.append(name)
        return name

    @staticmethod
    def _ip(namespace, *lines):
        _run("ip", "-n", namespace, "-batch", "-", text="".join(line + "\n" for line in lines))

    @staticmethod
    def _enter(path):
        fd = os.open(path, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)
