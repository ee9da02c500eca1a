"""ops/aof on the folders of real nodes. What it does with damaged ones, byte by byte, its unit tests show."""

import json
import os
import pty
import re
import shlex
import shutil
import subprocess

import pytest

import harness
import runbooks
from conftest import skein_only

pytestmark = skein_only


def aof(*words, **options):
    return harness.run([runbooks.AOF, *words], check=False, **options)


def outputs(words):
    """Exit code, standard output and standard error apart."""
    done = subprocess.run([runbooks.AOF, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(make_node):
    """The dir of a node of two shards that was killed, with a torn tail in one of them."""
    # `always`: of what the other shard has been told nothing may be missing.
    node = make_node(appendonly="yes", appendfsync="always", storage_shards=2, client_loops=2, cluster_bootstrap="yes")
    node.start()
    node.await_state("ok")
    with node.client() as client:
        client.pipeline([["SET", "user:%d" % index, "value %d" % index] for index in range(100)])
        client.call("SET", "last", "word" * 20)
    shard = node.folder / "appendonlydir" / ("shard-%d" % (harness.key_slot("last") % 2))

    def newest():
        return max(shard.glob("incr.*.aof"), key=lambda path: int(path.name.split(".")[1]))

    node.kill()
    data = newest().read_bytes()
    newest().write_bytes(data[:data.index(b"word" * 20) + 3])
    return node.folder


def commands():
    return re.findall(r"(?m)^  (\w+) +\w", aof("--help").stdout.split("Commands:")[1].split("\n\n")[0])


def examples(command):
    text = aof(command, "--help")
    assert text.returncode == 0
    return [line.strip() for line in text.stdout.split("Examples:\n")[1].splitlines() if line.strip()]


def test_L46_examples_of_the_help_work(folder, tmp_path):
    ran = []
    assert set(commands()) >= {"inspect", "verify", "repair", "dump"}
    for command in commands():
        for index, example in enumerate(examples(command)):
            root = tmp_path / ("%s-%d" % (command, index))
            shutil.copytree(folder, root / "lib" / "skein")
            line = example.replace("/var/lib/", str(root / "lib") + "/")
            # The example's moment, as of this data.
            line = line.replace("2026-11-22T01:02:03Z", str(int(os.stat(folder / "appendonlydir/manifest").st_mtime) + 9))
            words = shlex.split(line)
            assert words[:2] == ["ops/aof", command], example
            code, out, err = outputs(words[1:])
            assert code == 0, "%s\n%s%s" % (line, out, err)
            if "--json" in words:
                for text in out.splitlines() if command == "dump" else [out]:
                    json.loads(text)
            ran.append(command)
    assert set(ran) == set(commands()), "a command without an example"


def test_json_of_every_command_parses(folder, tmp_path):
    more = {"repair": ["--yes"], "reshard": ["--to", "3"], "export": ["--rdb", tmp_path / "out.rdb"],
            "restore": ["--to-lsn", "0:150", "--into", tmp_path / "restored"]}
    for command in commands():
        copy = tmp_path / command
        shutil.copytree(folder, copy)
        code, out, err = outputs([command, copy, "--json", *more.get(command, [])])
        assert code == 0, "%s\n%s%s" % (command, out, err)
        found = [json.loads(text) for text in out.splitlines()]
        assert found and all(isinstance(one, dict) for one in found)
        if command == "dump":
            assert len(found) == 100 and found[0]["effect"][0] == "SET"
        else:
            assert len(found) == 1
        if command == "verify":
            tails = [shard["torn_tail"] for shard in found[0]["shards"] if shard["torn_tail"] is not None]
            assert found[0]["ok"] and len(tails) == 1 and tails[0]["reason"] == "incomplete record"
        if command == "repair":
            assert found[0]["changed"] and len(found[0]["torn_tails"]) == 1


def test_reading_beside_a_running_node(make_node):
    node = make_node(appendonly="yes", storage_shards=2, client_loops=2, cluster_bootstrap="yes").start()
    node.await_state("ok")
    assert node.call("SET", "a", "1") == b"OK"
    for command in ("inspect", "verify", "dump"):
        code, _, err = outputs([command, node.folder])
        assert code == 0 and "a running process has %s" % (node.folder / "appendonlydir") in err, err
    for words in (["repair", node.folder, "--yes"], ["repair", node.folder, "--rebuild-manifest"]):
        code, _, err = outputs(words)
        assert code == 2 and "is in use by another process" in err and "ops/runbooks/folder-in-use.md" in err, err
    assert node.call("SET", "a", "2") == b"OK"
    assert node.terminate() == 0
    assert outputs(["verify", node.folder])[0] == 0


def test_repair_asks_on_a_terminal(folder):
    def answered(answer):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([runbooks.AOF, "repair", folder], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        asked = b""
        while not asked.endswith(b"[y/N] "):
            asked += os.read(ours, 1000)
        os.write(ours, answer + b"\n")
        said = process.communicate(timeout=30)[0]
        os.close(ours)
        return process.returncode, said.decode()

    before = sorted((path, path.stat().st_size) for path in folder.rglob("*.aof"))
    code, said = answered(b"n")
    assert code == 2 and "has a torn tail" in said
    assert sorted((path, path.stat().st_size) for path in folder.rglob("*.aof")) == before
    code, said = answered(b"y")
    assert code == 0 and re.search(r"(?m)^shard \d: cut$", said), said
    assert "torn tail" not in aof("verify", folder).stdout


def test_a_pager_that_is_left_early_and_a_full_disk(folder):
    assert aof("repair", folder, "--yes").returncode == 0
    done = harness.run(["bash", "-c", "set -o pipefail; %s dump %s | head -n 1" % (
        shlex.quote(runbooks.AOF), shlex.quote(str(folder)))], check=False)
    assert done.returncode in (0, 141) and len(done.stdout.splitlines()) == 1, done.stdout
    done = harness.run(["bash", "-c", "%s dump %s > /dev/full" % (shlex.quote(runbooks.AOF),
                                                                 shlex.quote(str(folder)))], check=False)
    assert done.returncode == 1 and "No space left on device" in done.stdout


def test_dump_feeds_another_server(folder, make_node):
    """RESP text of each shard, through redis-cli --pipe."""
    node = make_node(cluster_bootstrap="yes").start()
    node.await_state("ok")
    for shard in (0, 1):
        done = harness.run(["bash", "-c", "%s dump %s --shard %d --format resp | redis-cli -p %d --pipe" % (
            shlex.quote(runbooks.AOF), shlex.quote(str(folder)), shard, node.port)])
        assert "errors: 0" in done.stdout, done.stdout
    assert node.call("DBSIZE") == 100 and node.call("GET", "user:42") == b"value 42"


def test_wrapper_uses_what_is_built(tmp_path, folder):
    """ops/aof without SKEIN_AOF, in a checkout that has been built."""
    (tmp_path / "checkout" / "ops").mkdir(parents=True)
    shutil.copy(harness.ROOT / "ops" / "aof", tmp_path / "checkout" / "ops" / "aof")
    (tmp_path / "checkout" / "bazel-bin" / "ops").mkdir(parents=True)
    (tmp_path / "checkout" / "bazel-bin" / "ops" / "skein-aof").symlink_to(runbooks.AOF)
    environment = {name: value for name, value in os.environ.items() if name != "SKEIN_AOF"}
    done = harness.run([tmp_path / "checkout" / "ops" / "aof", "verify", folder.name], cwd=folder.parent,
                       env=environment)
    assert done.stdout.endswith("appendonlydir: ok\n")
