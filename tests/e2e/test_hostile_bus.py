"""Peers that lie, stall, babble and guess at a real node's bus port: counted, closed, told nothing, and nothing changes."""

import hashlib
import hmac
import os
import socket
import ssl
import struct
import subprocess
import time

import pytest

from conftest import skein_only
import harness
import process

pytestmark = skein_only

SECRET = "a-secret-of-these-tests-only"
HELLO, MESSAGE, CHALLENGE, PROOF, ACCEPT = 1, 2, 3, 4, 5
STRANGER = "c" * 40


# ---- The wire format (bus/link/PROTOCOL.md), written anew from its description

def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def frame(kind_of_frame, payload, kind=0, layout=1, magic=b"SKNB", flags=0, length=None):
    head = magic + struct.pack("<BBBBI", layout, kind_of_frame, kind, flags, len(payload) if length is None else length)
    return head + struct.pack("<I", crc32c(head + payload)) + payload


def hello(node_id=STRANGER, low=1, high=1, nonce=None):
    payload = struct.pack("<HHI", low, high, 1 if nonce else 0) + node_id.encode() + (nonce or b"")
    return frame(HELLO, payload)


def field(text):
    return struct.pack("<H", len(text)) + text


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


class Handshake:
    """The keys and proofs of a dialler."""

    def __init__(self, secret, node_id=STRANGER):
        self.prk = mac(b"skein trust 1", secret.encode())
        self.node_id, self.nonce, self.challenge, self.version = node_id.encode(), os.urandom(32), b"", 1

    def transcript(self, use, role, acceptor=b""):
        return (field(b"skein trust 1") + field(b"bus") + field(use) + field(role) + struct.pack("<HHH", 1, 1, self.version)
                + field(self.nonce) + field(self.challenge) + field(self.node_id) + field(acceptor))

    def proof(self, role=b"dialler", acceptor=b""):
        return mac(mac(self.prk, b"proofs\x01"), self.transcript(b"proof", role, acceptor))

    def frame_key(self, role, acceptor):
        return mac(self.prk, self.transcript(b"frames", role, acceptor) + b"\x01")


def tagged(key, sequence, kind, payload):
    head = b"SKNB" + struct.pack("<BBBBII", 2, MESSAGE, kind, 0, len(payload), 0)
    return head + payload + mac(key, struct.pack("<Q", sequence) + head + payload)[:16]


# Messages of bus.proto, by hand: field numbers of BusMessage and of the bodies.
def proto_bytes(number, data):
    assert len(data) < 1 << 14 and number < 16
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def ping(seq):
    return proto_bytes(3, b"\x08" + bytes([seq]))


def bus_hello(node_id, meet=False):
    raw = bytes.fromhex(node_id)
    return proto_bytes(1, proto_bytes(1, raw) + (b"\x18\x01" if meet else b""))


def failed(node_id):
    return proto_bytes(8, proto_bytes(1, bytes.fromhex(node_id)))


class Peer:
    def __init__(self, node, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", node.port + 10000), timeout=10)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)

    def say(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # closed already: what was wrong came earlier
        return self

    def frame(self):
        """The next frame's type and payload; None at the end."""
        head = self.take(16)
        if head is None:
            return None
        return head[5], self.take(struct.unpack("<I", head[8:12])[0])

    def take(self, size):
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except (ConnectionError, ssl.SSLError):
                return None
            if not more:
                return None
            data += more
        return data

    def rest(self):
        """Everything that comes until the node closes."""
        data = b""
        while True:
            try:
                more = self.socket.recv(4096)
            except (ConnectionError, ssl.SSLError):
                return data
            if not more:
                return data
            data += more

    def prove(self, secret, node_id=STRANGER):
        """The whole handshake; the key for what this side says, or None."""
        shake = Handshake(secret, node_id)
        self.say(hello(node_id, nonce=shake.nonce))
        answer = self.frame()
        if answer is None:
            return None
        assert answer[0] == CHALLENGE
        shake.challenge = answer[1][4:36]
        self.say(frame(PROOF, shake.proof()))
        answer = self.frame()
        if answer is None:
            return None
        acceptor, proof = answer[1][:40], answer[1][40:72]
        assert answer[0] == ACCEPT and proof == shake.proof(b"acceptor", acceptor)
        return shake.frame_key(b"dialler", acceptor)


def closes(node):
    text = node.cluster_info()["cluster_bus_closes"]
    return {name: int(count) for name, count in (pair.split("=") for pair in text.split(",") if pair)}


def view(node):
    """What the node believes, without the times of its heartbeats."""
    lines = node.call("CLUSTER", "NODES").decode().splitlines()
    return sorted(tuple(word for index, word in enumerate(line.split(" ")) if index not in (4, 5, 7)) for line in lines)


def connections(node):
    return sum(1 for link in node.call("CLUSTER", "LINKS"))


class Watch:
    """What must be as it was, whatever happens inside."""

    def __init__(self, nodes):
        self.nodes = nodes

    def __enter__(self):
        # A link each way to each of the others.
        self.links = [2 * (len(self.nodes) - 1)] * len(self.nodes)
        assert process.wait_until(lambda: [connections(node) for node in self.nodes] == self.links, 20)
        self.before = [view(node) for node in self.nodes]
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            assert process.wait_until(lambda: [connections(node) for node in self.nodes] == self.links, 20)
            assert [view(node) for node in self.nodes] == self.before
            for node in self.nodes:
                assert node.cluster_info()["cluster_state"] == "ok"


def grows(node, reason, attack):
    before = closes(node).get(reason, 0)
    result = attack()
    assert process.wait_until(lambda: closes(node).get(reason, 0) > before, 10), "%s: %s" % (reason, closes(node))
    return result


@pytest.fixture
def plain(make_cluster):
    return make_cluster(3)


@pytest.fixture
def secret(make_cluster):
    return make_cluster(3, cluster_secret=SECRET)


def test_garbage_and_malformed_frames(plain):
    node = plain[0]
    member = plain[1].node_id()
    good = frame(MESSAGE, ping(1), 3)
    with Watch(plain):
        for reason, data in (
                ("bad-magic", os.urandom(4096).replace(b"SKNB", b"....")),
                ("bad-magic", b"*1\r\n$4\r\nPING\r\n" + b"." * 16),
                ("bad-layout", frame(HELLO, b"x" * 48, layout=7)),
                ("bad-type", frame(9, b"")),
                ("bad-flags", frame(HELLO, b"x" * 48, flags=1)),
                ("frame-too-long", frame(HELLO, b"", length=513)),
                ("frame-too-long", hello() + frame(MESSAGE, b"", 3, length=0xFFFFFFFF)),
                ("bad-checksum", hello() + good[:-1] + bytes([good[-1] ^ 1])),
                ("undecodable", hello() + frame(MESSAGE, b"\xff\xff\xff", 3)),
                ("undecodable", hello() + frame(MESSAGE, ping(1), 4)),
                ("bad-hello", hello("C" * 40)),
                ("bad-hello", frame(HELLO, b"short")),
                ("no-common-version", hello(low=7, high=9)),
                ("unexpected-frame", good),
                ("unexpected-frame", hello() + hello()),
                ("self", hello(node.node_id())),
                ("peer-has-secret", hello(nonce=os.urandom(32))),
                ("peer-has-tls", b"\x16\x03\x01\x02\x00\x01" + b"\0" * 100),
        ):
            grows(node, reason, lambda: Peer(node).say(data).rest())
        # The first of them, at least: like lines of the log, only so many a second.
        told = [event[9].decode() for event in node.call("CLUSTER", "EVENTS", "KIND", "close")]
        assert any(text == "closed the link from 127.0.0.1: bad-magic" for text in told), told
        # A truncated frame, and then the end.
        peer = Peer(node).say(hello() + good[:-1])
        assert peer.frame()[0] == HELLO
        grows(node, "end-of-stream", peer.socket.close)
        # Strangers, and those who claim to be members, that announce a failure or ask to be let in as another.
        for data in (bus_hello(STRANGER), bus_hello(member), failed(member)):
            peer = Peer(node).say(hello(member) + frame(MESSAGE, data, data[0] >> 3))
            assert peer.frame()[0] == HELLO
            peer.say(frame(MESSAGE, failed(member), 8))
            time.sleep(0.2)  # for what should not happen
            peer.socket.close()


def test_half_open_and_slow_connections(plain):
    node = plain[0]
    with Watch(plain):
        memory = node.memory()
        # A byte a second never becomes a Hello in time (half a node timeout).
        slow = Peer(node)
        before = closes(node).get("hello-timeout", 0)
        for byte in hello()[:3]:
            slow.say(bytes([byte]))
            time.sleep(1)
        assert slow.rest() == b""
        assert closes(node)["hello-timeout"] > before
        # A thousand that say nothing: most are refused at once, the rest at the deadline; members are served meanwhile.
        def ended():
            now = closes(node)
            return now.get("address-limit", 0) + now.get("hello-timeout", 0)

        refused, earlier = closes(node).get("address-limit", 0), ended()
        idle = [socket.create_connection(("127.0.0.1", node.port + 10000)) for _ in range(1000)]
        assert process.wait_until(lambda: ended() - earlier >= 1000, 20), closes(node)
        assert closes(node)["address-limit"] > refused
        for connection in idle:
            connection.close()
        assert node.memory() - memory < 32 << 20
        assert Peer(node).say(hello()).frame()[0] == HELLO


def test_without_the_secret_nothing_is_said(secret):
    node = secret[0]
    member = secret[1].node_id()
    with Watch(secret):
        assert grows(node, "peer-has-no-secret", lambda: Peer(node).say(hello()).rest()) == b""
        assert grows(node, "peer-has-no-secret", lambda: Peer(node).say(hello(member)).rest()) == b""
        for guess in ("another-secret-of-16", SECRET + ".", SECRET.upper()):
            assert grows(node, "bad-proof", lambda: Peer(node).prove(guess)) is None
        # A challenge holds a version and randomness.
        one, two = (Peer(node).say(hello(nonce=os.urandom(32))).frame() for _ in range(2))
        assert one[0] == two[0] == CHALLENGE and len(one[1]) == 36 and one[1][4:] != two[1][4:]
        # What a member has said is worth nothing on another connection, and nothing twice.
        peer = Peer(node)
        key = peer.prove(SECRET)
        recorded = tagged(key, 0, 3, ping(1))
        grows(node, "bad-tag", lambda: peer.say(recorded + recorded).rest())
        other = Peer(node)
        assert other.prove(SECRET) is not None
        grows(node, "bad-tag", lambda: other.say(recorded).rest())
        bare = Peer(node)
        assert bare.prove(SECRET) is not None
        grows(node, "bad-layout", lambda: bare.say(frame(MESSAGE, ping(1), 3)).rest())
        # A thousand that stop after the challenge.
        refused = closes(node).get("address-limit", 0)
        half = [socket.create_connection(("127.0.0.1", node.port + 10000)) for _ in range(1000)]
        for connection in half:
            try:
                connection.sendall(hello(nonce=os.urandom(32)))
            except OSError:
                pass
        assert process.wait_until(lambda: closes(node).get("address-limit", 0) > refused, 10)
        for connection in half:
            connection.close()
    assert SECRET not in node.log_text()


def test_secrets_rotate_on_a_live_cluster(secret):
    fresh = "the-one-that-comes-after-it"
    fails = [node.cluster_info().get("cluster_stats_messages_failed_sent", "0") for node in secret]
    before = [view(node) for node in secret]

    def step(value):
        for node in secret:
            assert node.call("CONFIG", "SET", "cluster-secret", value) == b"OK"
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for node in secret:
                assert node.cluster_info()["cluster_state"] == "ok"

    step("%s %s" % (SECRET, fresh))
    step("%s %s" % (fresh, SECRET))
    step(fresh)
    # Four links a node were proven by the old one; they are made anew, and the cluster does not notice.
    def renewed():
        for node in secret:
            assert node.cluster_info()["cluster_state"] == "ok"
        return sum(closes(node).get("secret-withdrawn", 0) for node in secret) >= 6
    assert process.wait_until(renewed, 30)
    assert process.wait_until(lambda: all(connections(node) == 4 for node in secret), 20)
    assert [view(node) for node in secret] == before
    assert [node.cluster_info().get("cluster_stats_messages_failed_sent", "0") for node in secret] == fails
    for node in secret:
        assert closes(node).get("bad-proof", 0) == 0
        assert node.call("CONFIG", "GET", "cluster-secret")[1] == fresh.encode()
    assert Peer(secret[0]).prove(SECRET) is None
    assert Peer(secret[0]).prove(fresh) is not None
    for node in secret:
        assert fresh not in node.log_text()


def test_a_secret_that_protects_nothing_is_refused(make_node, tmp_path):
    node = make_node(cluster_secret=SECRET).start()
    with node.client() as client:
        for value in ("short", "x" * 40, "a-good-secret-of-some-length short", 'with"quotes"in it'):
            with pytest.raises(harness.resp.Error) as error:
                client.call("CONFIG", "SET", "cluster-secret", value)
            assert value.split(" ", maxsplit=1)[0] not in str(error.value)
        file = tmp_path / "secrets"
        file.write_text("the first of the file\nthe second of the file\n", encoding="ascii")
        with pytest.raises(harness.resp.Error):
            client.call("CONFIG", "SET", "cluster-secret-file", str(file))  # one of the two, not both
        assert client.call("CONFIG", "SET", "cluster-secret", "", "cluster-secret-file", str(file)) == b"OK"
        client.call("CONFIG", "SET", "slowlog-log-slower-than", 0)
        client.call("CONFIG", "SET", "requirepass", "another-word", "cluster-secret-file", str(file))
        slow = repr(client.call("SLOWLOG", "GET", 10))
        assert "requirepass" in slow and "another-word" not in slow
    assert Peer(node).prove("the second of the file") is not None
    assert Peer(node).prove(SECRET) is None


@pytest.fixture
def certificates(tmp_path):
    """make(name, authority="ca") gives the files of a certificate: cert, key, ca."""
    def run(*words):
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def authority(name):
        if not (tmp_path / (name + ".crt")).exists():
            run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key",
                "-out", name + ".crt", "-days", "2", "-subj", "/CN=" + name)

    def make(name, issuer="ca", file=None):
        authority(issuer)
        file = file or name
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file + ".key", "-out",
            file + ".csr", "-subj", "/CN=" + name)
        run("x509", "-req", "-in", file + ".csr", "-CA", issuer + ".crt", "-CAkey", issuer + ".key", "-CAcreateserial",
            "-days", "1", "-out", file + ".crt")
        return tuple(str(tmp_path / part) for part in (file + ".crt", file + ".key", issuer + ".crt"))

    return make


def test_the_bus_over_tls(make_node, certificates):
    nodes = []
    for index in range(3):
        cert, key, authority = certificates("node-%d" % index)
        nodes.append(make_node(tls_cluster="yes", tls_cert_file=cert, tls_key_file=key, tls_ca_cert_file=authority,
                               bus_io_threads=index).start())
    harness.form(nodes)
    node, worker = nodes[0], nodes[1]
    assert int(node.cluster_info()["cluster_bus_accepts_inline"]) >= 2
    assert int(worker.cluster_info()["cluster_bus_accepts_offloaded"]) >= 2

    def context(name, issuer="ca"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        if name:
            tls.load_cert_chain(*certificates(name, issuer)[:2])
        return tls

    with Watch(nodes):
        for victim in (node, worker):
            assert grows(victim, "peer-has-no-tls", lambda: Peer(victim).say(hello()).rest()) == b""

            def bare():
                try:
                    return Peer(victim, context(None)).say(hello()).rest()
                except (ConnectionError, ssl.SSLError):
                    return b""

            def stranger():
                try:
                    return Peer(victim, context("stranger", "other-ca")).say(hello()).rest()
                except (ConnectionError, ssl.SSLError):
                    return b""

            assert grows(victim, "tls-failed", bare) == b""
            assert grows(victim, "tls-failed", stranger) == b""
            # A certificate of the authority, and another member's id.
            member = nodes[2].node_id()
            thief = context("thief")
            assert grows(victim, "certificate-mismatch", lambda: Peer(victim, thief).say(hello(member)).rest()) == b""

    # New certificates of the same names reach every link, and the cluster does not notice.
    for index, each in enumerate(nodes):
        cert, key, _ = certificates("node-%d" % index, file="renewed-%d" % index)
        assert each.call("CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key) == b"OK"

    def renewed():
        for each in nodes:
            assert each.cluster_info()["cluster_state"] == "ok"
        return sum(closes(each).get("tls-renewed", 0) for each in nodes) >= 6
    assert process.wait_until(renewed, 30)
    assert process.wait_until(lambda: all(connections(each) == 4 for each in nodes), 20)
    harness.await_whole(nodes)
