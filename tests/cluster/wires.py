"""Wires that can be cut without any rights: nodes announce addresses at which a proxy listens, which knows who dials.

What is cut stands still and goes on after healing, as TCP does. The test reaches the nodes themselves.
"""

import contextlib
import socket
import threading

import net

_HELLO = 64  # a link begins with a header of 16 bytes, versions and flags in 8, then the id of who dials
_REQUEST = 4096  # a flow with a command of less, LOGSYNC VERSION ID ADDRESS ...


class InPath(net.Loopback):
    can_cut = True

    def __init__(self, port):
        super().__init__()
        self._port = port
        self._announced = {}
        self._index_of = {}  # by node id
        self._cuts = set()  # (source, target)
        self._changed = threading.Condition()
        self._closed = False
        self._sockets = []

    def new_address(self, index):
        address, announced = super().new_address(index), super().new_address(index)
        self._announced[index] = announced
        for port, is_bus in ((self._port, False), (self._port + 10000, True)):
            listener = socket.create_server((announced, port), backlog=128)
            self._sockets.append(listener)
            threading.Thread(target=self._accept, args=(listener, index, (address, port), is_bus), daemon=True).start()
        return address

    def announced(self, index):
        return self._announced[index]

    def directives(self, index):
        return {"cluster-announce-ip": self._announced[index], "replica-announce-ip": self._announced[index]}

    def name(self, index, node_id):
        """This is the node's id."""
        self._index_of[node_id.encode()] = index

    def cut(self, from_nodes, to_nodes):
        """What `from_nodes` send no longer reaches `to_nodes`."""
        with self._changed:
            self._cuts |= {(source, target) for source in from_nodes for target in to_nodes if source != target}

    def heal(self):
        with self._changed:
            self._cuts.clear()
            self._changed.notify_all()

    def close(self):
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener, target, behind, is_bus):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._sockets = [one for one in self._sockets if one.fileno() >= 0] + [near]
                threading.Thread(target=self._join, args=(near, target, behind, is_bus), daemon=True).start()

    def _join(self, near, target, behind, is_bus):
        """A connection: who dials it is known by its first bytes; a client is nobody."""
        with near, contextlib.suppress(OSError):
            first = near.recv(*(_HELLO, socket.MSG_WAITALL) if is_bus else (_REQUEST,))
            source = self._dials(first, is_bus)
            self._await_whole(source, target)
            with socket.create_connection(behind, 10) as far:
                far.settimeout(None)
                self._sockets.append(far)
                far.sendall(first)
                back = threading.Thread(target=self._carry, args=(far, near, target, source), daemon=True)
                back.start()
                self._carry(near, far, source, target)
                back.join()

    def _dials(self, first, is_bus):
        """The node that begins a connection like this; None: a client."""
        if is_bus:
            return self._index_of.get(first[24:64])
        words = first.split(b"\r\n", 9)
        if len(words) < 10 or words[2] != b"LOGSYNC":
            return None
        return next(index for index, address in self._announced.items() if address.encode() == words[8])

    def _await_whole(self, source, target):
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (source, target) not in self._cuts)

    def _carry(self, taken, given, source, target):
        with contextlib.suppress(OSError):
            while data := taken.recv(65536):
                self._await_whole(source, target)
                given.sendall(data)
        for one in (taken, given):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
