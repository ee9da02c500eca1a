"""Replica groups under load and faults, judged by what the clients were told (tests/failover)."""

import subprocess

import harness
import pytest


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_nothing_is_lost_that_must_not_be(fsync):
    words = [harness.ROOT / "tests" / "failover" / "run", "--node", harness.BINARY, "--fsync", fsync]
    if fsync == "always":
        words += ["--only", "kill-pair", "kill-everything"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400,
                          check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_the_judge_names_every_kind_of_wrong():
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                           harness.ROOT / "tests" / "failover" / "test_history.py"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode()
