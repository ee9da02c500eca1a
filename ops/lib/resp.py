"""A small RESP client: one connection, RESP2 and RESP3, nothing but the standard library."""

import socket


class Error(Exception):
    """An error reply; `code` is its first word (ERR, MOVED, CLUSTERDOWN, ...)."""

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Closed(ConnectionError):
    """The peer has closed the connection."""


def encode(*words):
    """One command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        if isinstance(word, (int, float)):
            word = str(word)
        if isinstance(word, str):
            word = word.encode()
        parts.append(b"$%d\r\n" % len(word))
        parts.append(word)
        parts.append(b"\r\n")
    return b"".join(parts)


class Client:
    """call() sends a command and returns its reply: bytes, int, None, list, dict, set, bool or float.

    An error reply is raised as Error; inside an aggregate or a pipeline it stands as an Error object. With `context`, an
    ssl.SSLContext, it speaks TLS.
    """

    def __init__(self, port, host="127.0.0.1", timeout=10, context=None):
        self.address = (host, port)
        self.socket = socket.create_connection(self.address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket)
        self._buffer = b""
        self._at = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, *words):
        self.send_raw(encode(*words))

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def reply(self):
        value = self._read()
        if isinstance(value, Error):
            raise value
        return value

    def pipeline(self, commands):
        """Sends all commands at once; returns their replies, errors among them as objects."""
        self.send_raw(b"".join(encode(*command) for command in commands))
        return [self._read() for _ in commands]

    def at_end(self):
        """Waits for the peer to close: True if it did without saying anything more."""
        if self._at < len(self._buffer):
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    # -- replies

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Closed("127.0.0.1:%d closed the connection" % self.address[1])
        self._buffer = self._buffer[self._at:] + data
        self._at = 0

    def _line(self):
        while True:
            end = self._buffer.find(b"\r\n", self._at)
            if end >= 0:
                line = self._buffer[self._at:end]
                self._at = end + 2
                return line
            self._more()

    def _exactly(self, size):
        if len(self._buffer) - self._at < size + 2:
            parts, have = [self._buffer[self._at:]], len(self._buffer) - self._at
            while have < size + 2:
                data = self.socket.recv(1 << 18)
                if not data:
                    raise Closed("127.0.0.1:%d closed the connection" % self.address[1])
                parts.append(data)
                have += len(data)
            self._buffer, self._at = b"".join(parts), 0
        data = self._buffer[self._at:self._at + size]
        self._at += size + 2
        return data

    def _read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Error(rest.decode(errors="replace"))
        if kind in (b":", b"("):
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest))
        if kind == b"=":
            return self._exactly(int(rest))[4:]
        if kind == b"!":
            return Error(self._exactly(int(rest)).decode(errors="replace"))
        if kind in (b"*", b">"):
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        if kind == b"~":
            return {self._key(self._read()) for _ in range(int(rest))}
        if kind == b"%":
            return {self._key(self._read()): self._read() for _ in range(int(rest))}
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        raise ValueError("not RESP: %r" % line[:80])

    @staticmethod
    def _key(value):
        return tuple(value) if isinstance(value, list) else value


def fields(text):
    """`name:value` lines (INFO, CLUSTER INFO) as a dict of strings."""
    found = {}
    for line in text.decode().splitlines():
        if line and not line.startswith("#") and ":" in line:
            name, value = line.split(":", 1)
            found[name] = value
    return found
