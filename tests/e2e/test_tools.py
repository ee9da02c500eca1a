"""Redis's own tools against a cluster: redis-cli --cluster, redis-cli -c, redis-benchmark --cluster."""

import re

import harness


def addresses(nodes):
    return ["127.0.0.1:%d" % node.port for node in nodes]


def test_create_check_and_info(make_node):
    nodes = [make_node().start() for _ in range(3)]
    done = harness.run(["redis-cli", "--cluster", "create", *addresses(nodes), "--cluster-yes"])
    assert "[OK] All nodes agree about slots configuration." in done.stdout
    assert "[OK] All 16384 slots covered." in done.stdout
    harness.await_whole(nodes)
    for node in nodes:
        done = harness.run(["redis-cli", "--cluster", "check", "127.0.0.1:%d" % node.port])
        assert "[OK] All 16384 slots covered." in done.stdout
        assert "[ERR]" not in done.stdout and "[WARNING]" not in done.stdout
    nodes[0].client().pipeline([["SET", "a", "1"], ["SET", "b", "1"], ["SET", "c", "1"]])
    done = harness.run(["redis-cli", "--cluster", "info", "127.0.0.1:%d" % nodes[1].port])
    for node in nodes:
        line = next(line for line in done.stdout.splitlines() if line.startswith("127.0.0.1:%d" % node.port))
        assert re.search(r"-> \d+ keys \| 54\d\d slots \| 0 slaves\.", line), line
    assert "keys in 3 masters." in done.stdout
    # Each node has an epoch of its own and knows two others by their own names.
    epochs = set()
    for line in nodes[0].call("CLUSTER", "NODES").decode().splitlines():
        assert re.match(r"[0-9a-f]{40} 127\.0\.0\.1:\d+@\d+(,\S*)? (myself,)?master - \d+ \d+ \d+ connected \d+-\d+$", line)
        epochs.add(line.split()[6])
    assert len(epochs) == 3


def test_create_refuses_a_node_that_holds_keys(make_node):
    nodes = [make_node().start() for _ in range(3)]
    nodes[1].call("CLUSTER", "ADDSLOTSRANGE", 0, harness.SLOTS - 1)
    nodes[1].await_state("ok")
    nodes[1].call("SET", "occupied", "yes")
    done = harness.run(["redis-cli", "--cluster", "create", *addresses(nodes), "--cluster-yes"], check=False)
    assert done.returncode != 0
    assert "is not empty" in done.stdout


def test_reshard_moves_empty_slots(make_cluster):
    nodes = make_cluster(3)
    source, target = nodes[0].node_id(), nodes[1].node_id()
    done = harness.run(["redis-cli", "--cluster", "reshard", "127.0.0.1:%d" % nodes[0].port, "--cluster-from", source,
                        "--cluster-to", target, "--cluster-slots", "20", "--cluster-yes"])
    assert done.stdout.count("Moving slot") >= 20
    harness.await_whole(nodes)
    done = harness.run(["redis-cli", "--cluster", "check", "127.0.0.1:%d" % nodes[2].port])
    assert "[OK] All 16384 slots covered." in done.stdout
    owned = harness.slots_by_node(nodes[2])
    assert "0-19" in owned[target].split()


def test_cli_follows_redirections(cluster):
    port = cluster[0].port
    words = ["redis-cli", "-c", "-p", port]
    for index in range(30):
        assert harness.run([*words, "SET", "cli:%d" % index, "value %d" % index]).stdout.strip().endswith("OK")
    for index in range(30):
        assert "value %d" % index in harness.run([*words, "GET", "cli:%d" % index]).stdout
    # Without -c the redirection itself is what a person sees.
    elsewhere = next(key for key in ("k%d" % i for i in range(100)) if harness.key_slot(key) > 12000)
    assert "MOVED %d 127.0.0.1:" % harness.key_slot(elsewhere) in harness.run(
        ["redis-cli", "-p", port, "GET", elsewhere]).stdout


def test_benchmark_in_cluster_mode(cluster):
    done = harness.run(["redis-benchmark", "--cluster", "-p", cluster[1].port, "-t", "set,get", "-n", "20000", "-P",
                        "16", "-c", "20", "-r", "10000", "-q"])
    rates = dict(re.findall(r"(SET|GET): ([\d.]+) requests per second", done.stdout.replace("\r", "\n")))
    assert set(rates) == {"SET", "GET"} and all(float(rate) > 0 for rate in rates.values()), done.stdout
    assert "rror" not in done.stdout


def test_scan_and_stats_of_the_cli(single):
    single.client().pipeline([["SET", "scan:%d" % index, index] for index in range(500)])
    found = harness.run(["redis-cli", "-p", single.port, "--scan", "--pattern", "scan:*"]).stdout.split()
    assert sorted(found) == sorted("scan:%d" % index for index in range(500))
    # Bigkeys walks the keyspace with SCAN, TYPE, STRLEN; it ends by itself.
    assert "Biggest string found" in harness.run(["redis-cli", "-p", single.port, "--bigkeys"]).stdout
