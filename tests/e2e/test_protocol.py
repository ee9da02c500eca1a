"""What comes over a connection: every malformed request gets the error that Redis gives, and costs nobody else."""

import socket

import pytest

import harness
import process
import resp

MEBIBYTE = 1 << 20

# Bytes that are sent, and the error after which the connection is closed.
BROKEN = {
    "multibulk length is no number": (b"*abc\r\n", "invalid multibulk length"),
    "multibulk length above the limit": (b"*2147483648\r\n", "invalid multibulk length"),
    "multibulk length past 64 bits": (b"*99999999999999999999\r\n", "invalid multibulk length"),
    "argument is no bulk string": (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
    "argument is an integer": (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
    "bulk length is no number": (b"*1\r\n$abc\r\nPING\r\n", "invalid bulk length"),
    "bulk length is negative": (b"*1\r\n$-5\r\nPING\r\n", "invalid bulk length"),
    "bulk length above proto-max-bulk-len": (b"*2\r\n$3\r\nGET\r\n$536870913\r\n", "invalid bulk length"),
    "bulk length past 64 bits": (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
    "inline quotes do not match": (b'SET a "b\r\n', "unbalanced quotes in request"),
    "inline line without an end": (b"a" * (65 * 1024), "too big inline request"),
    "multibulk count without an end": (b"*" + b"1" * (65 * 1024), "too big mbulk count string"),
    "bulk count without an end": (b"*1\r\n$" + b"1" * (65 * 1024), "too big bulk count string"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_malformed_requests_are_answered_and_closed(single, name):
    data, error = BROKEN[name]
    with single.client() as client:
        # What was whole before it is answered first.
        client.send_raw(resp.encode("ECHO", "before") + data)
        assert client.reply() == b"before"
        with pytest.raises(resp.Error) as caught:
            client.reply()
        assert str(caught.value) == "ERR Protocol error: " + error
        assert client.at_end()
    assert single.call("PING") == b"PONG"


def test_malformed_requests_in_pieces(single):
    """The same errors when every byte comes in a packet of its own."""
    for data, error in ((b"*1\r\n+PING\r\n", "expected '$', got '+'"), (b"*abc\r\n", "invalid multibulk length")):
        with single.client() as client:
            for byte in data:
                client.send_raw(bytes([byte]))
            with pytest.raises(resp.Error) as caught:
                client.reply()
            assert str(caught.value) == "ERR Protocol error: " + error
            assert client.at_end()


def test_whole_requests_in_pieces(single):
    with single.client() as client:
        for byte in resp.encode("SET", "{pieces}", "a\r\nb"):
            client.send_raw(bytes([byte]))
        assert client.reply() == b"OK"
        for byte in b"GET {pieces}\r\n":
            client.send_raw(bytes([byte]))
        assert client.reply() == b"a\r\nb"


def test_empty_requests_are_passed_over(single):
    with single.client() as client:
        client.send_raw(b"\r\n\r\n*0\r\n*-1\r\n\r\nPING\r\n")
        assert client.reply() == b"PONG"
        client.send_raw(b"  ECHO   'it\\'s'  \r\n" + b'ECHO "\\x41\\n"\n')
        assert client.reply() == b"it's"
        assert client.reply() == b"A\n"


def test_errors_leave_the_connection_open(single):
    cases = {
        ("NOSUCH", "a", "b"): "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ",
        ("GET",): "ERR wrong number of arguments for 'get' command",
        ("SET", "k"): "ERR wrong number of arguments for 'set' command",
        ("SET", "k", "v", "NOPE"): "ERR syntax error",
        ("SET", "k", "v", "EX", "0"): "ERR invalid expire time in 'set' command",
        ("EXPIRE", "k", "soon"): "ERR value is not an integer or out of range",
        ("CLUSTER", "NOPE"): "ERR unknown subcommand 'NOPE'. Try CLUSTER HELP.",
        ("CONFIG", "SET", "nosuch", "1"): "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
    }
    with single.client() as client:
        for words, text in cases.items():
            with pytest.raises(resp.Error) as caught:
                client.call(*words)
            assert str(caught.value) == text
        assert client.call("PING") == b"PONG"


def test_hello_switches_the_protocol(single):
    with single.client() as client:
        with pytest.raises(resp.Error) as caught:
            client.call("HELLO", "4")
        assert str(caught.value) == "NOPROTO unsupported protocol version"
        hello = client.call("HELLO", "3", "SETNAME", "tester")
        assert isinstance(hello, dict)
        assert hello[b"proto"] == 3 and hello[b"mode"] == b"cluster" and hello[b"role"] == b"master"
        assert client.call("GET", "no such key") is None
        assert client.call("CLIENT", "GETNAME") == b"tester"
        hello = client.call("HELLO", "2")
        assert isinstance(hello, list)
        assert client.call("RESET") == b"RESET"
        assert client.call("CLIENT", "GETNAME") in (None, b"")


def test_large_values_pass_whole(single):
    value = bytes(range(256)) * (40 * MEBIBYTE // 256)
    with single.client(timeout=30) as client:
        assert client.call("SET", "{large}", value) == b"OK"
        assert client.call("STRLEN", "{large}") == len(value)
        assert client.call("GET", "{large}") == value
        assert client.call("DEL", "{large}") == 1


def test_bulk_length_is_refused_before_it_is_sent(make_node):
    node = make_node(cluster_bootstrap="yes", proto_max_bulk_len="1mb").start()
    with node.client() as client:
        assert client.call("SET", "a", b"x" * MEBIBYTE) == b"OK"
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n" % (MEBIBYTE + 1))
        with pytest.raises(resp.Error) as caught:
            client.reply()
        assert str(caught.value) == "ERR Protocol error: invalid bulk length"
        assert client.at_end()
    with node.client() as client:
        with pytest.raises(resp.Error) as caught:
            client.call("SETRANGE", "a", MEBIBYTE, "x")
        assert str(caught.value) == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def test_unauthenticated_clients_have_low_limits(make_node):
    node = make_node(cluster_bootstrap="no", requirepass="secret")
    node.launch()

    def refuses():
        try:
            with node.client() as client:
                client.call("PING")
        except resp.Error as error:
            return error.code == "NOAUTH"
        except OSError:
            return False
        return False

    assert process.wait_until(refuses, harness.START_TIMEOUT), node.log_text()
    for data, error in ((b"*11\r\n", "unauthenticated multibulk length"),
                        (b"*2\r\n$3\r\nGET\r\n$16385\r\n", "unauthenticated bulk length")):
        with node.client() as client:
            client.send_raw(data)
            with pytest.raises(resp.Error) as caught:
                client.reply()
            assert str(caught.value) == "ERR Protocol error: " + error
            assert client.at_end()
    with node.client() as client:
        with pytest.raises(resp.Error) as caught:
            client.call("AUTH", "wrong")
        assert caught.value.code == "WRONGPASS"
        with pytest.raises(resp.Error) as caught:
            client.call("GET", "a")
        assert str(caught.value) == "NOAUTH Authentication required."
        assert client.call("AUTH", "secret") == b"OK"
        assert client.call("PING") == b"PONG"
    assert "secret" not in node.log_text()


def test_a_query_larger_than_its_buffer_may_be_closes_the_connection(make_node):
    node = make_node(cluster_bootstrap="yes", client_query_buffer_limit="1mb").start()
    with node.client() as client:
        client.send_raw(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (64 * MEBIBYTE))
        with pytest.raises((resp.Closed, ConnectionError)):
            chunk = b"x" * 65536
            for _ in range(64 * MEBIBYTE // len(chunk)):
                client.send_raw(chunk)
            client.reply()
    assert node.memory() < 100 * MEBIBYTE
    assert process.wait_until(lambda: node.info("clients")["connected_clients"] == "1", 5)


def test_half_a_request_then_the_end(single):
    """A client that closes its side in the middle of a request is let go; one that asked and closed is answered."""
    before = int(single.info("clients")["connected_clients"])
    client = single.client()
    client.send_raw(b"*2\r\n$3\r\nGET\r\n$10\r\nabc")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.at_end()
    client.close()
    client = single.client()
    client.send("PING")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.reply() == b"PONG"
    assert client.at_end()
    client.close()
    assert process.wait_until(lambda: int(single.info("clients")["connected_clients"]) == before, 5)


def test_quit_answers_and_closes(single):
    with single.client() as client:
        client.send_raw(resp.encode("PING") + resp.encode("QUIT") + resp.encode("PING"))
        assert client.reply() == b"PONG"
        assert client.reply() == b"OK"
        assert client.at_end()


def test_pipelines_keep_their_order_across_shards(single):
    """Keys of many slots, so that commands cross to the loops of other shards, in one pipeline."""
    commands, expected = [], []
    for index in range(5000):
        commands += [("SET", "order:%d" % index, index), ("GET", "order:%d" % index), ("ECHO", "e%d" % index),
                     ("INCR", "order:%d" % index)]
        expected += [b"OK", b"%d" % index, b"e%d" % index, index + 1]
    with single.client(timeout=30) as client:
        assert client.pipeline(commands) == expected
