"""The comparisons of tests/compat with redis-server 7.0: the whole command table, and random commands."""

import subprocess

import pytest

import harness
from conftest import skein_only

pytestmark = skein_only

FOLDER = harness.ROOT / "tests" / "compat"


def run(script, *options):
    done = subprocess.run(["/usr/bin/python3", "-B", str(FOLDER / script), "--binary", harness.BINARY, *options],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          check=False)
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, output
    return output


def test_the_command_table_is_that_of_redis():
    assert "0 unexplained differences" in run("command_table.py")


@pytest.mark.parametrize("options", [(), ("--resp", "3"), ("--cluster",), ("--cluster", "--shards", "1", "--resp", "3")],
                         ids=["resp2", "resp3", "four-shards", "one-shard-resp3"])
def test_random_commands_are_answered_as_by_redis(options):
    assert ": 0 differences" in run("compare.py", "--commands", "5000", *options)
