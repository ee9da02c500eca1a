"""Fixtures: nodes made in a test are ended with it; one cluster of three serves the tests that leave it whole."""

import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness  # noqa: E402
import runbooks  # noqa: E402

harness.redis_server.put_on_path()
skein_only = pytest.mark.skipif(not harness.IS_SKEIN, reason="speaks of Skein alone")


@pytest.fixture
def make_node(tmp_path):
    """make_node(**directives) gives a Node that is not yet started."""
    made = []

    def make(name=None, **directives):
        node = harness.Node(tmp_path / (name or "node-%d" % len(made)), **directives)
        made.append(node)
        return node

    yield make
    for node in made:
        node.clean_up()


@pytest.fixture
def make_cluster(make_node):
    """make_cluster(count, **directives) gives started nodes that form a cluster."""
    def make(count=3, **directives):
        nodes = [make_node(**directives).start() for _ in range(count)]
        harness.form(nodes)
        return nodes

    return make


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Three nodes, several loops and shards, for tests that leave it as they found it but for keys of their own."""
    folder = tmp_path_factory.mktemp("cluster")
    nodes = [harness.Node(folder / ("node-%d" % index), client_loops=2, storage_shards=2, appendonly="yes")
             for index in range(3)]
    try:
        for node in nodes:
            node.start()
        harness.form(nodes)
        yield nodes
    finally:
        for node in nodes:
            node.clean_up()


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """One node that owns all slots."""
    node = harness.Node(tmp_path_factory.mktemp("single") / "node", client_loops=2, storage_shards=2,
                        cluster_bootstrap="yes")
    try:
        node.start()
        node.await_state("ok")
        yield node
    finally:
        node.clean_up()


@pytest.fixture
def make_sandbox(tmp_path):
    """make_sandbox(**directives): where the commands of a page under ops/runbooks run."""
    made = []

    def make(**directives):
        made.append(runbooks.Sandbox(tmp_path / ("sandbox-%d" % len(made)), **directives))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.end()
