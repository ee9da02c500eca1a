"""What a node refuses at its start, in which words, and that --check-config says the same (L13, L14, L45)."""

import re

import pytest

import harness
from conftest import skein_only

pytestmark = skein_only


def refusal(words, folder):
    """Exit code and messages of a start that should be refused; it must not serve, so it must end by itself."""
    done = harness.run([harness.BINARY, *words], check=False, cwd=folder, timeout=20)
    return done.returncode, harness.messages(done.stdout)


def check_both(words, folder, *parts):
    """Starting and checking both end with 2 and say the same; the message holds each of `parts`."""
    code, said = refusal(words, folder)
    assert code == 2, said
    for part in parts:
        assert any(part in line for line in said), (part, said)
    line = next(line for line in said if all(part in line for part in parts)) if parts else said[-1]
    code, checked = refusal([*words, "--check-config"], folder)
    assert code == 2, checked
    assert line in checked, (line, checked)
    return line


def base(folder, port=None):
    return ["--port", str(port or harness.free_port()), "--bind", "127.0.0.1", "--dir", str(folder)]


@pytest.mark.parametrize("words, parts", [
    (["--appendonly", "maybe"], ["appendonly", "yes"]),
    (["--port", "70000"], ["port"]),
    (["--port", "seven"], ["port"]),
    (["--append-only", "yes"], ["append-only", "appendonly"]),
    (["--cluster-node-timeuot", "1000"], ["cluster-node-timeuot", "cluster-node-timeout"]),
    (["--appendfsync", "sometimes"], ["appendfsync"]),
    (["--maxmemory", "1zb"], ["maxmemory"]),
    (["--write-commit", "disk", "--appendonly", "no"], ["write-commit", "appendonly"]),
    (["--cluster-enabled", "no", "--storage-shards", "2"], ["storage-shards"]),
    (["--dir", "/nonexistent/folder"], ["/nonexistent/folder"]),
])
def test_L14_refused_directives(tmp_path, words, parts):
    given = dict(zip(base(tmp_path)[::2], base(tmp_path)[1::2]))
    given.update(dict(zip(words[::2], words[1::2])))
    check_both([word for pair in given.items() for word in pair], tmp_path, *parts)
    assert list(tmp_path.iterdir()) == [], "a refused start leaves nothing behind"


def test_L14_file_and_line_are_named(tmp_path):
    file = tmp_path / "skein.conf"
    file.write_text("# a comment\nport %d\n\nappendonly perhaps\n" % harness.free_port(), encoding="utf-8")
    line = check_both([str(file)], tmp_path, "skein.conf", "appendonly")
    assert re.search(r"skein\.conf\S*[: ](line )?4\b", line), line
    included = tmp_path / "more.conf"
    included.write_text("nosuchdirective 1\n", encoding="utf-8")
    file.write_text("include more.conf\n", encoding="utf-8")
    check_both([str(file)], tmp_path, "more.conf", "nosuchdirective")
    check_both([str(tmp_path / "absent.conf")], tmp_path, "absent.conf")


def test_a_good_configuration_passes_the_check_without_a_trace(tmp_path):
    code, said = refusal([*base(tmp_path), "--appendonly", "yes", "--check-config"], tmp_path)
    assert code == 0, said
    assert list(tmp_path.iterdir()) == []


def test_the_file_and_the_command_line_mean_the_same(make_node, tmp_path):
    node = make_node(cluster_bootstrap="yes")
    file = node.folder / "skein.conf"
    file.write_text('appendonly "yes"\nMAXMEMORY 100mb\nsave ""\n'
                    'client-output-buffer-limit normal 1mb 512kb 60\ninclude extra.conf\n', encoding="utf-8")
    (node.folder / "extra.conf").write_text("slowlog-max-len 7\nhz 20\n", encoding="utf-8")
    words = node.command()
    node.command = lambda: [words[0], str(file), *words[1:], "--hz", "30"]
    node.start()
    with node.client() as client:
        def value(name):
            return dict(zip(*[iter(client.call("CONFIG", "GET", name))] * 2))[name.encode()].decode()
        assert value("appendonly") == "yes"
        assert value("maxmemory") == str(100 << 20)
        assert value("slowlog-max-len") == "7"
        assert value("hz") == "30", "what stands later wins"
        assert "normal 1048576 524288 60" in value("client-output-buffer-limit")


def test_help_and_version(tmp_path):
    done = harness.run([harness.BINARY, "--help"], cwd=tmp_path)
    for name in ("--port", "--client-loops", "--storage-shards", "--appendfsync", "--cluster-bootstrap",
                 "--check-config", "--write-commit"):
        assert name in done.stdout, name
    assert re.search(r"\d+\.\d+", harness.run([harness.BINARY, "--version"], cwd=tmp_path).stdout)


def data_set(make_node, shards=2):
    node = make_node(cluster_bootstrap="yes", appendonly="yes", appendfsync="always", client_loops=2,
                     storage_shards=shards).start()
    with node.client() as client:
        client.pipeline([("SET", "key:%d" % index, "value") for index in range(200)])
    assert node.terminate() == 0
    return node


def manifest(node):
    found = [path for path in (node.folder / "appendonlydir").iterdir() if path.is_file() and "manifest" in path.name]
    assert len(found) == 1, found
    return found[0]


def test_L13_another_shard_count_is_refused(make_node):
    node = data_set(make_node, 2)
    node.directives["storage_shards"] = 4
    check_both(node.command()[1:], node.folder, "manifest=2", "config=4")
    node.directives["storage_shards"] = 2
    node.start()
    assert node.call("DBSIZE") == 200


def test_a_shard_count_that_was_never_asked_for_follows_the_data(make_node):
    node = data_set(make_node, 2)
    del node.directives["storage_shards"]
    node.directives["client_loops"] = 1
    node.start()
    assert node.call("DBSIZE") == 200


@pytest.mark.parametrize("damage", ("truncated", "garbage", "empty"))
def test_L13_a_corrupt_manifest_is_refused(make_node, damage):
    node = data_set(make_node)
    path = manifest(node)
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:len(whole) // 2], "garbage": b"\0\1garbage\n" + whole, "empty": b""}[damage])
    damaged = path.read_bytes()
    check_both(node.command()[1:], node.folder, path.name)
    # Never starts empty over data, and never touches it.
    assert path.read_bytes() == damaged
    path.write_bytes(whole)
    node.start()
    assert node.call("DBSIZE") == 200


def test_L13_a_missing_log_file_is_refused(make_node):
    node = data_set(make_node)
    files = sorted((node.folder / "appendonlydir").glob("shard-0/incr.*.aof"))
    assert files
    for file in files:
        file.rename(file.with_suffix(".away"))
    check_both(node.command()[1:], node.folder, "shard-0")
    for file in files:
        file.with_suffix(".away").rename(file)
    node.start()
    assert node.call("DBSIZE") == 200


def test_a_flipped_bit_in_the_middle_of_a_log_is_refused(make_node):
    """Damage before the last durable mark is not a torn tail: nothing is cut silently."""
    node = data_set(make_node)
    file = max((node.folder / "appendonlydir").glob("shard-*/incr.*.aof"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)
    code, said = refusal(node.command()[1:], node.folder)
    assert code == 2, said
    assert any(file.name in line for line in said), said
    assert file.read_bytes() == bytes(data)


def test_a_torn_tail_is_cut_and_reported(make_node):
    node = data_set(make_node, 1)
    file = max((node.folder / "appendonlydir").glob("shard-0/incr.*.aof"), key=lambda path: path.stat().st_size)
    whole = file.read_bytes()
    torn = whole[-40:-10]
    file.write_bytes(whole + torn)
    node.start()
    assert node.call("DBSIZE") == 200
    assert node.call("SET", "after", "1") == b"OK"
    said = node.log_text()
    assert file.name in said and ("cut" in said or "torn" in said), said
    assert node.terminate() == 0
    after = file.read_bytes()
    assert after.startswith(whole) and not after.startswith(whole + torn)
    node.start()
    assert node.call("DBSIZE") == 201


def test_a_corrupt_cluster_configuration_is_refused(make_node):
    node = data_set(make_node)
    path = node.folder / "nodes.conf"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\xff\xff\xff\xff")
    check_both(node.command()[1:], node.folder, "nodes.conf")
    path.write_bytes(whole)
    node.start()
    assert node.call("DBSIZE") == 200


def test_a_busy_port_is_named(make_node):
    first = make_node().start()
    second = make_node(port=first.port).launch()
    assert second.wait() not in (0, None)
    assert str(first.port) in second.log_text()
    third = make_node(cluster_port=first.port + 10000).launch()
    assert third.wait() not in (0, None)
    assert str(first.port + 10000) in third.log_text()
    assert first.call("PING") == b"PONG"


def test_two_nodes_on_one_folder_are_refused(make_node):
    first = make_node("shared", appendonly="yes").start()
    second = make_node("shared", appendonly="yes")
    second.launch()
    assert second.wait() not in (0, None)
    assert str(first.folder) in second.log_text() or "nodes.conf" in second.log_text()
    assert first.call("PING") == b"PONG"
    first.terminate()
    # The lock goes with its process.
    second.start()


def test_config_set_get_and_rewrite(make_node):
    node = make_node(cluster_bootstrap="yes")
    file = node.folder / "skein.conf"
    file.write_text("# kept comment\nhz 10\n", encoding="utf-8")
    words = node.command()
    node.command = lambda: [words[0], str(file), *words[1:]]
    node.start()
    with node.client() as client:
        assert client.call("CONFIG", "SET", "hz", "25", "slowlog-max-len", "9") == b"OK"
        assert client.call("CONFIG", "REWRITE") == b"OK"
    text = file.read_text(encoding="utf-8")
    assert "# kept comment" in text and "hz 25" in text and "slowlog-max-len 9" in text
    assert node.terminate() == 0
    node.command = lambda: [words[0], str(file)]
    node.start()
    with node.client() as client:
        assert client.call("CONFIG", "GET", "hz") == [b"hz", b"25"]
        assert client.call("CLUSTER", "COUNTKEYSINSLOT", 0) == 0
