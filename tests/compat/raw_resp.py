"""A minimal RESP connection for comparing servers: sends words, returns the raw bytes of one reply."""
import socket


class Connection:
    def __init__(self, port, host='127.0.0.1', timeout=20):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b''
        self.at = 0

    def close(self):
        self.sock.close()

    def send(self, commands):
        out = []
        for words in commands:
            out.append(b'*%d\r\n' % len(words))
            for word in words:
                out.append(b'$%d\r\n%s\r\n' % (len(word), word))
        self.sock.sendall(b''.join(out))

    def run(self, *words):
        self.send([[w if isinstance(w, bytes) else str(w).encode() for w in words]])
        return self.reply()

    def reply(self):
        """The raw bytes of the next reply, nested replies included."""
        self.data = self.data[self.at:]
        self.at = 0
        self._skip()
        return self.data[:self.at]

    def _more(self):
        chunk = self.sock.recv(1 << 16)
        if not chunk:
            raise ConnectionError('the server closed the connection')
        self.data += chunk

    def _line(self):
        while True:
            end = self.data.find(b'\r\n', self.at)
            if end >= 0:
                line = self.data[self.at:end]
                self.at = end + 2
                return line
            self._more()

    def _skip(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in b'$=!':
            n = int(rest)
            if n >= 0:
                while len(self.data) < self.at + n + 2:
                    self._more()
                self.at += n + 2
        elif kind in b'*~>':
            for _ in range(max(int(rest), 0)):
                self._skip()
        elif kind in b'%|':
            for _ in range(2 * int(rest)):
                self._skip()
            if kind == b'|':
                self._skip()


def parse(raw):
    """A raw reply as Python values; errors and status replies as ('-', text), ('+', text)."""
    value, rest = _parse(raw)
    assert not rest, rest
    return value


def _parse(raw):
    line, rest = raw.split(b'\r\n', 1)
    kind, text = line[:1], line[1:]
    if kind in b'+-':
        return (kind.decode(), text), rest
    if kind == b':':
        return int(text), rest
    if kind == b'_':
        return None, rest
    if kind == b'#':
        return text == b't', rest
    if kind == b',':
        return float(text), rest
    if kind in b'$=!':
        n = int(text)
        return (None, rest) if n < 0 else (rest[:n], rest[n + 2:])
    n = int(text)
    if n < 0:
        return None, rest
    items = []
    for _ in range(2 * n if kind == b'%' else n):
        item, rest = _parse(rest)
        items.append(item)
    return (dict(zip(map(_key, items[::2]), items[1::2])) if kind == b'%' else items), rest


def _key(value):
    return value if not isinstance(value, list) else tuple(value)
