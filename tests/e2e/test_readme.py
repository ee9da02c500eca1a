"""L46: every command line of the README is run as it stands there, but for ports and folders of this test's own."""

import json
import os
import re
import shlex
import subprocess

import pytest

import harness
from conftest import skein_only

README = harness.ROOT / "README.md"


def command_lines():
    """Lines of the README's ```sh blocks, without comments."""
    lines = []
    for block in re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.S):
        for line in block.splitlines():
            line = re.sub(r"\s+#\s.*$", "", line).strip()
            if line and not line.startswith("#"):
                lines.append(line)
    return lines


# Not run here: ops/test runs this very test, ops/install changes the machine, the others take minutes
# or hours as they stand there and have tests of their own below.
ELSEWHERE = ("ops/test", "ops/install", "ops/bench", "tests/crash/run", "tests/cluster/run", "tests/sim/run",
             "tests/failover/run")


@skein_only
def test_L46_the_readme_commands_work(tmp_path):
    port = next(port for port in iter(harness.free_port, None)
                if all(harness.ports.is_free(port + step) and harness.ports.is_free(port + step + 10000)
                       for step in range(6)))
    environment = dict(os.environ, SKEIN_NODE=harness.BINARY, SKEIN_CLUSTER_DIR=str(tmp_path / "cluster"),
                       NO_COLOR="1")
    binary_folder = tmp_path / "bin"
    binary_folder.mkdir()
    (binary_folder / "skein-node").symlink_to(harness.BINARY)
    environment["PATH"] = "%s:%s" % (binary_folder, environment["PATH"])
    ran = []
    try:
        for line in command_lines():
            words = shlex.split(line)
            if words[0] in ELSEWHERE:
                continue
            line = re.sub(r"\b70(0[0-9])\b", lambda match: str(port + int(match.group(1))), line)
            line = line.replace("bazel-bin/node/skein-node", shlex.quote(harness.BINARY))
            if words[0] == "ops/up":
                line += " --no-install --port %d" % port
            if "--watch" in words:
                line = "timeout --signal=INT 2 " + line
            done = subprocess.run(["bash", "-c", line], cwd=harness.ROOT, env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
            assert done.returncode == 0 or ("--watch" in words and done.returncode in (124, 130)), "%s:\n%s" % (
                line, done.stdout)
            assert words[0] != "redis-cli" or "MOVED" not in done.stdout, done.stdout
            ran.append(words[0])
    finally:
        subprocess.run([str(harness.ROOT / "ops" / "down")], env=environment, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, check=False, timeout=60)
    assert "ops/up" in ran and "ops/down" in ran


def environment_for(tmp_path):
    return dict(os.environ, SKEIN_NODE=harness.BINARY, SKEIN_CLUSTER_DIR=str(tmp_path / "cluster"), NO_COLOR="1")


@pytest.fixture
def ops(tmp_path):
    """ops("up", ...) runs a script on a cluster of this test's own; returns (exit code, output)."""
    environment = environment_for(tmp_path)

    def call(name, *words):
        done = subprocess.run([str(harness.ROOT / "ops" / name), *map(str, words)], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120, check=False)
        return done.returncode, done.stdout

    yield call
    call("down")


def test_up_status_down(ops):
    port = harness.free_port()
    while not all(harness.ports.is_free(port + step) and harness.ports.is_free(port + step + 10000)
                  for step in range(8)):
        port = harness.free_port()
    assert ops("status") == (3, "no cluster is running here; ops/up starts one\n")
    assert ops("down") == (0, "there is no cluster of ops/up here\n")
    code, said = ops("up", "--no-install", "--port", port)
    assert code == 0, said
    for words in ("6 of 6 nodes up, 16,384 of 16,384 slots served", "MOVED", "redis-cli -c -p %d" % port, "ops/down",
                  "0-5460", "5 out, 5 in", "replica of %d, 0 B behind, next" % port):
        assert words in said, said
    identity = harness.run(["redis-cli", "-p", port, "CLUSTER", "MYID"]).stdout
    assert harness.run(["redis-cli", "-c", "-p", port, "SET", "mine", "1"]).stdout.strip() == "OK"

    # Run again, it leaves the running cluster as it is.
    code, said = ops("up", "--no-install", "--port", port)
    assert code == 0 and "running already" in said, said
    assert harness.run(["redis-cli", "-p", port, "CLUSTER", "MYID"]).stdout == identity
    code, said = ops("up", "--no-install", "--port", port, "--nodes", 4)
    assert code == 1 and "ops/down" in said

    # A node that dies is told of, and comes back with the next ops/up.
    with harness.resp.Client(port + 1) as client:
        client.send("SHUTDOWN", "NOSAVE")
        client.at_end()
    code, said = ops("status")
    assert code == 1 and "5 of 6 nodes up" in said and "down" in said, said
    code, said = ops("up", "--no-install", "--port", port)
    assert code == 0 and "starting 1 node: %d" % (port + 1) in said, said

    code, said = ops("down")
    assert code == 0 and said.count("stopped") == 6, said
    assert all(harness.ports.is_free(port + step) for step in range(6))
    code, said = ops("up", "--no-install", "--port", port, "--keep-data")
    assert code == 0, said
    assert harness.run(["redis-cli", "-p", port, "CLUSTER", "MYID"]).stdout == identity
    assert harness.run(["redis-cli", "-c", "-p", port, "GET", "mine"]).stdout.strip() == "1"
    ops("down")
    code, said = ops("up", "--no-install", "--port", port, "--nodes", 1, "--replicas", 0)
    assert code == 0 and "1 of 1 nodes up" in said, said
    assert harness.run(["redis-cli", "-c", "-p", port, "GET", "mine"]).stdout.strip() == ""


def test_up_names_a_busy_port(ops, make_node):
    node = make_node().start()
    code, said = ops("up", "--no-install", "--port", node.port)
    assert code == 1
    assert "port %d" % node.port in said and "pid %d" % node.process.pid in said
    code, said = ops("up", "--no-install", "--port", node.port + 10000, "--nodes", "1")
    assert code == 1 and "port %d" % (node.port + 10000) in said


def test_up_refuses_senseless_numbers(ops):
    for words in (("--nodes", "0"), ("--nodes", "many"), ("--port", "60000"), ("--port", "55535", "--nodes", "2")):
        code, said = ops("up", "--no-install", *words)
        assert code == 2 and "usage" in said


def test_install_has_nothing_to_do_twice():
    """Runs only what looks: a test must not change the machine."""
    done = harness.run([harness.ROOT / "ops" / "install", "check"])
    assert done.stdout == ""


@skein_only
def test_L46_the_crash_matrix_runs_as_the_readme_says(tmp_path):
    lines = [shlex.split(line) for line in command_lines() if line.startswith("tests/crash/run")]
    assert len(lines) == 2
    for words in lines:
        words[words.index("--rounds") + 1] = "1"
        if "--power-loss" not in words:
            words += ["--cell", "1-always-calm-1"]
        done = subprocess.run(words, cwd=harness.ROOT, env=environment_for(tmp_path), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout


@skein_only
def test_L46_real_and_simulated_clusters_run_as_the_readme_says(tmp_path):
    for script, rest in (("tests/cluster/run", ["--loopback", "--only", "kill_a_few"]), ("tests/sim/run", []),
                         ("tests/failover/run", ["--rounds", "1", "--only", "kill-replica"])):
        lines = [shlex.split(line) for line in command_lines() if line.startswith(script)]
        assert len(lines) == 1
        words = ["4" if word.isdigit() else word for word in lines[0]] + rest
        done = subprocess.run(words, cwd=harness.ROOT, env=environment_for(tmp_path), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout


@skein_only
def test_bench_measures_both_servers(ops):
    code, said = ops("bench", "--no-install", "--quick", "--json", "--pairs", 1, "--layouts", "1x1", "--pipelines", 16,
                     "--keys", 10000)
    assert code == 0, said
    layout = json.loads(said)["throughput"][0]
    assert [cell["command"] for cell in layout["cells"]] == ["SET", "GET"]
    for cell in layout["cells"]:
        assert cell["cpu_ratio"] > 0 and cell["ops_ratio"] > 0
        assert cell["skein"]["cpu_us_per_op"] > 0 and cell["redis"]["p99_ms"] > 0
    code, said = ops("bench", "memory", "--no-install", "--json", "--keys", 50000)
    assert code == 0, said
    assert [row["server"] for row in json.loads(said)["memory"]] == ["skein", "redis-server"]
    # What is counted does not hang on the machine; the goal is 70 bytes a key, a little more where the table is small.
    assert json.loads(said)["memory"][0]["used_memory_bytes_per_key"] < 100
    assert ops("bench", "--no-install", "--pipelines", "3")[0] == 2
    code, said = ops("bench", "storm", "--no-install", "--quick", "--json", "--pairs", 1, "--keys", 50000)
    assert code == 0, said
    for row in json.loads(said[said.index("{"):])["storm"]:
        assert row["storm"]["messages_per_second"] > 10000 > row["calm"]["messages_per_second"]
        assert row["storm"]["answer_p99_ms"] > 0


@skein_only
def test_bench_measures_replication(ops):
    code, said = ops("bench", "fullsync", "--no-install", "--quick", "--json", "--pairs", 1, "--keys", 200000)
    assert code == 0, said
    for row in json.loads(said[said.index("{"):])["fullsync"]:
        for cell in row["cells"].values():
            assert cell["seconds"] > 0 and cell["replica_cpu_seconds"] > 0 and cell["longest_ms"] > 0
