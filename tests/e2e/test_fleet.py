"""Fleets of nodes, each with an address of its own, through what tests/cluster does without rights on the network."""

import subprocess

import harness


def test_a_dozen_nodes_die_freeze_move_and_come_back():
    done = subprocess.run([harness.ROOT / "tests" / "cluster" / "run", "--node", harness.BINARY, "--loopback",
                           "--nodes", "12", "--timeout", "2000"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240,
                          check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_certificates_and_workers_change_while_nodes_die_and_return():
    done = subprocess.run([harness.ROOT / "tests" / "cluster" / "run", "--node", harness.BINARY, "--loopback", "--tls",
                           "--only", "tls_churn", "--nodes", "6", "--timeout", "2000"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240,
                          check=False)
    assert done.returncode == 0, done.stdout.decode()
