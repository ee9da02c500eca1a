"""TLS for clients: the directives of Redis, real clients of all kinds, hostile ones, and certificates that change."""

import contextlib
import pathlib
import re
import socket
import ssl
import statistics
import subprocess
import threading
import time

import pytest

import harness
import process
import resp
from conftest import skein_only

MEBIBYTE = 1 << 20


class Site:
    """An authority and what it has issued, as files; made by the openssl command."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path("ca.key"), "-out",
                      self.path("ca.crt"), "-subj", "/CN=authority", "-days", "2")
        self.issue("node")
        self.issue("client")

    def path(self, name):
        return str(self.folder / name)

    def issue(self, name):
        """Makes NAME.crt and NAME.key, in place of those that there may be."""
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path(name + ".key"), "-out",
                      self.path(name + ".csr"), "-subj", "/CN=" + name)
        self._openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path("ca.crt"), "-CAkey",
                      self.path("ca.key"), "-CAcreateserial", "-out", self.path(name + ".crt"), "-days", "2")

    @staticmethod
    def _openssl(*words):
        subprocess.run(["openssl", *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)

    def directives(self, port, **more):
        return {"tls_port": port, "tls_cert_file": self.path("node.crt"), "tls_key_file": self.path("node.key"),
                "tls_ca_cert_file": self.path("ca.crt"), **more}

    def context(self, certificate="client"):
        """A client's context; without a certificate if that is None."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.path("ca.crt"))
        if certificate:
            context.load_cert_chain(self.path(certificate + ".crt"), self.path(certificate + ".key"))
        return context

    def words(self):
        """For redis-cli and redis-benchmark."""
        return ["--tls", "--cacert", self.path("ca.crt"), "--cert", self.path("client.crt"), "--key",
                self.path("client.key")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def make_tls(make_node, site):
    """make_tls(**directives) gives a started node that owns all slots, with a plain and a TLS port (node.tls_port)."""
    def make(**directives):
        tls_port = harness.free_port()
        node = make_node(**{"cluster_bootstrap": "yes", **site.directives(tls_port), **directives}).start()
        node.tls_port = tls_port
        return node

    return make


def clients(node):
    return int(node.info("clients")["connected_clients"])


def stat(node, name):
    return int(node.info("stats")[name])


def closes(connection):
    """Waits until the peer closes, whatever it says before."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return True


def test_plain_and_tls_side_by_side(make_tls, site):
    node = make_tls(client_loops=2, storage_shards=2)
    plain = harness.run(["redis-cli", "-p", node.port, "set", "a", "1"])
    assert plain.stdout == "OK\n"
    secure = harness.run(["redis-cli", "-p", node.tls_port, *site.words(), "get", "a"])
    assert secure.stdout == "1\n"
    with resp.Client(node.tls_port, context=site.context()) as client:
        assert client.call("GET", "a") == b"1"
        assert client.call("CONFIG", "GET", "tls-port") == [b"tls-port", str(node.tls_port).encode()]
        assert client.socket.version() == "TLSv1.3"


def test_tls_alone_with_port_zero(make_node, site):
    port = harness.free_port()
    node = make_node(cluster_bootstrap="yes", **site.directives(port))
    node.directives["port"] = 0
    node.launch()

    def serves():
        done = harness.run(["redis-cli", "-p", port, *site.words(), "ping"], check=False)
        return done.stdout == "PONG\n"

    assert process.wait_until(serves, 20), node.log_text()
    assert harness.run(["redis-cli", "-p", port, "ping"], check=False).stdout != "PONG\n", "without TLS nobody answers"
    shards = harness.run(["redis-cli", "-p", port, *site.words(), "cluster", "shards"]).stdout
    assert "tls-port\n%d" % port in shards and "\nport\n" not in shards


def test_python_and_its_cluster_client(make_node, site):
    redis = pytest.importorskip("redis")
    nodes = []
    for _ in range(3):
        tls_port = harness.free_port()
        nodes.append(make_node(**site.directives(tls_port), client_loops=2, storage_shards=2).start())
        nodes[-1].tls_port = tls_port
    harness.form(nodes)
    options = {"ssl": True, "ssl_ca_certs": site.path("ca.crt"), "ssl_certfile": site.path("client.crt"),
               "ssl_keyfile": site.path("client.key"), "ssl_check_hostname": False}
    with contextlib.closing(redis.Redis(port=nodes[0].tls_port, **options)) as client:
        assert client.ping()
    cluster = redis.cluster.RedisCluster(host="127.0.0.1", port=nodes[0].tls_port, **options)
    for index in range(200):
        assert cluster.set("key:%d" % index, index)
    assert [int(cluster.get("key:%d" % index)) for index in range(200)] == list(range(200))
    assert sorted(int(node.port) for node in cluster.get_nodes()) == sorted(node.tls_port for node in nodes)
    cluster.close()
    # redis-cli follows redirections to TLS ports by TLS, and to plain ones without.
    for key in ("a", "b", "c"):
        owner = harness.owner(nodes, key)
        told = harness.run(["redis-cli", "-p", nodes[0].tls_port, *site.words(), "get", key], check=False).stdout
        assert owner is nodes[0] or "MOVED %d 127.0.0.1:%d" % (harness.key_slot(key), owner.tls_port) in told
        told = harness.run(["redis-cli", "-p", nodes[0].port, "get", key], check=False).stdout
        assert owner is nodes[0] or "MOVED %d 127.0.0.1:%d" % (harness.key_slot(key), owner.port) in told
        done = harness.run(["redis-cli", "-c", "-p", nodes[0].tls_port, *site.words(), "set", key, "x"])
        assert done.stdout.endswith("OK\n")


def test_redis_benchmark(make_tls, site):
    node = make_tls(client_loops=2, storage_shards=2)
    for pipeline in (1, 16):
        done = harness.run(["redis-benchmark", "-p", node.tls_port, *site.words(), "-t", "set,get", "-n", 20000, "-P",
                            pipeline, "-c", 20, "-r", 1000, "--csv"], timeout=120)
        assert '"SET"' in done.stdout and '"GET"' in done.stdout and "rror" not in done.stdout, done.stdout
    assert process.wait_until(lambda: clients(node) == 1, 10)


def test_long_pipelines_and_large_values(make_tls, site):
    node = make_tls(client_loops=2, storage_shards=4)
    with resp.Client(node.tls_port, timeout=60, context=site.context()) as client:
        wanted = []
        commands = []
        for index in range(5000):
            commands += [("SET", "k%d" % (index % 331), index), ("GET", "k%d" % (index % 331))]
            wanted += [b"OK", b"%d" % index]
        assert client.pipeline(commands) == wanted
        value = bytes(range(256)) * (64 * MEBIBYTE // 256)
        assert client.call("SET", "big", value) == b"OK"
        assert client.call("GET", "big") == value
        assert client.call("PING") == b"PONG"


def test_a_slow_reader_loses_nothing_and_holds_nobody_up(make_tls, site):
    node = make_tls()
    value = b"v" * MEBIBYTE
    with resp.Client(node.tls_port, timeout=60, context=site.context()) as slow:
        assert slow.call("SET", "k", value) == b"OK"
        for _ in range(60):
            slow.send("GET", "k")
        with resp.Client(node.tls_port, context=site.context()) as other:
            for _ in range(50):
                assert other.call("PING") == b"PONG"
        for _ in range(60):
            assert slow.reply() == value


@pytest.mark.parametrize("auth, without, with_one", [("yes", False, True), ("optional", True, True), ("no", True, True)])
def test_who_must_show_a_certificate(make_tls, site, auth, without, with_one):
    node = make_tls(tls_auth_clients=auth)

    def let_in(context):
        try:
            with resp.Client(node.tls_port, context=context) as client:
                return client.call("PING") == b"PONG"
        except (OSError, resp.Error):
            return False

    assert let_in(site.context(None)) == without
    assert let_in(site.context()) == with_one


def test_strangers_are_refused(make_tls, site, tmp_path):
    node = make_tls()
    stranger = Site(tmp_path / "stranger")
    context = site.context(None)
    context.load_cert_chain(stranger.path("client.crt"), stranger.path("client.key"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with resp.Client(node.tls_port, context=context) as client:
            client.call("PING")
    with pytest.raises(ssl.SSLCertVerificationError):  # nor does it trust this node
        resp.Client(node.tls_port, context=stranger.context())
    with resp.Client(node.tls_port, context=site.context()) as client:
        assert client.call("PING") == b"PONG"


def test_protocols(make_tls, site):
    node = make_tls(tls_protocols="TLSv1.2")
    with resp.Client(node.tls_port, context=site.context()) as client:
        assert client.socket.version() == "TLSv1.2"
    context = site.context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises((ssl.SSLError, ConnectionError)):
        resp.Client(node.tls_port, context=context)


@skein_only
def test_L01_garbage_half_a_handshake_and_silence(make_tls, site):
    node = make_tls(tls_handshake_timeout=1, client_loops=2)
    failures, timeouts = stat(node, "tls_handshake_failures"), stat(node, "tls_handshake_timeouts")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x80\x2e\x01"
                    + b"\0" * 60):
        with socket.create_connection(("127.0.0.1", node.tls_port), 10) as connection:
            connection.sendall(garbage)
            assert closes(connection)
    silent = [socket.create_connection(("127.0.0.1", node.tls_port), 10) for _ in range(20)]
    for connection in silent[10:]:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    with resp.Client(node.tls_port, context=site.context()) as client:
        assert client.call("PING") == b"PONG"
        for connection in silent:
            assert closes(connection)
            connection.close()
        assert client.call("PING") == b"PONG", "who has shaken hands has no deadline"
    assert stat(node, "tls_handshake_failures") == failures + 4
    assert stat(node, "tls_handshake_timeouts") == timeouts + 20
    assert process.wait_until(lambda: clients(node) == 1, 10), clients(node)


@skein_only
def test_L04_L35_churn_of_handshakes_while_another_measures(make_tls, site):
    node = make_tls(client_loops=1, storage_shards=1)
    handshakes = stat(node, "tls_handshakes")
    waits, done = [], threading.Event()

    def measure():
        with resp.Client(node.port) as client:
            while not done.is_set():
                begin = time.monotonic()
                client.call("PING")
                waits.append(time.monotonic() - begin)

    errors = []

    def churn():
        context = site.context()
        try:
            for _ in range(125):
                with resp.Client(node.tls_port, context=context) as client:
                    assert client.call("PING") == b"PONG"
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    measuring = threading.Thread(target=measure)
    measuring.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    measuring.join()
    assert not errors, errors
    assert stat(node, "tls_handshakes") == handshakes + 500
    assert process.wait_until(lambda: clients(node) == 1, 10), clients(node)
    waits.sort()
    print("%d PINGs beside 500 handshakes: median %.2f ms, p99 %.2f ms, longest %.2f ms"
          % (len(waits), statistics.median(waits) * 1e3, waits[len(waits) * 99 // 100] * 1e3, waits[-1] * 1e3))
    # A client that had to wait for all four that came before it, each time, would still be under this.
    assert waits[len(waits) * 99 // 100] < 0.25


@skein_only
def test_L03_a_full_house_is_refused_and_counted(make_tls, site):
    node = make_tls(maxclients=2)
    with resp.Client(node.tls_port, context=site.context()) as first, node.client() as second:
        assert first.call("PING") == second.call("PING") == b"PONG"
        before = resp.fields(second.call("INFO", "stats"))["rejected_connections"]
        with pytest.raises((ssl.SSLError, OSError)):
            resp.Client(node.tls_port, context=site.context())
        after = resp.fields(second.call("INFO", "stats"))["rejected_connections"]
        assert int(after) == int(before) + 1
    assert process.wait_until(lambda: clients(node) == 1, 10)
    with resp.Client(node.tls_port, context=site.context()) as client:
        assert client.call("PING") == b"PONG"


def test_certificates_change_under_load(make_tls, tmp_path):
    site = Site(tmp_path / "site")
    node = make_tls(**site.directives(0, tls_port=harness.free_port()))
    node.tls_port = node.directives["tls_port"]
    site.issue("fresh")
    errors, made, done = [], [0], threading.Event()

    def connect():
        context = site.context()
        while not done.is_set():
            try:
                with resp.Client(node.tls_port, context=context) as client:
                    assert client.call("PING") == b"PONG"
                made[0] += 1
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)

    def subject():
        with resp.Client(node.tls_port, context=site.context()) as client:
            return dict(pair[0] for pair in client.socket.getpeercert()["subject"])["commonName"]

    threads = [threading.Thread(target=connect) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with resp.Client(node.tls_port, context=site.context()) as old, node.client() as admin:
            for index in range(30):
                name = ("fresh", "node")[index % 2]
                assert admin.call("CONFIG", "SET", "tls-cert-file", site.path(name + ".crt"), "tls-key-file",
                                  site.path(name + ".key")) == b"OK"
                assert subject() == name
                with pytest.raises(resp.Error) as refused:
                    admin.call("CONFIG", "SET", "tls-cert-file", site.path("none.crt"))
                assert "CONFIG SET failed (possibly related to argument 'tls-cert-file')" in str(refused.value)
                assert subject() == name, "the old ones stay"
                assert old.call("PING") == b"PONG"
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not errors and made[0] > 0, errors[:3]


@skein_only
def test_L14_check_config_refuses_what_starting_refuses(make_node, site):
    for directives, says in (
            ({"tls_cert_file": "/none.crt"}, "'tls-cert-file /none.crt': No such file or directory"),
            ({"tls_key_file": site.path("client.key")}, "key values mismatch"),
            ({"tls_protocols": "SSLv3"}, "'SSLv3' is none of TLSv1"),
            ({"tls_ciphersuites": "NONE"}, "'tls-ciphersuites NONE'"),
            ({"tls_ca_cert_file": ""}, "set tls-ca-cert-file or tls-ca-cert-dir")):
        node = make_node(**{**site.directives(harness.free_port()), **directives})
        checked = harness.run(node.command() + ["--check-config"], check=False, cwd=node.folder)
        assert checked.returncode == 2 and says in checked.stdout, checked.stdout
        node.launch()
        assert node.wait() == 2
        assert harness.messages(node.log_text())[-1] == harness.messages(checked.stdout)[-1]


@skein_only
def test_protected_mode_says_why_over_tls(make_node, site):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but its loopback's")
        own = probe.getsockname()[0]
    tls_port = harness.free_port()
    make_node(cluster_enabled="no", **{**site.directives(tls_port), "bind": ["127.0.0.1", own]}).start()
    with resp.Client(tls_port, host=own, context=site.context()) as client:
        with pytest.raises(resp.Error, match=re.compile("^DENIED ")):
            client.reply()
        assert client.at_end()
