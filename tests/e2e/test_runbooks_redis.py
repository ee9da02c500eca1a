"""L46: the pages about Redis and the way back in time, tried. See test_runbooks.py."""

import shutil

import pytest

import harness
import runbooks
from conftest import skein_only
from runbooks import fill, keys

pytestmark = skein_only


def redis(sandbox, *words):
    """A redis-server with some keys, on the folder that the pages call /var/lib/redis."""
    folder = sandbox.root / "lib" / "redis"
    folder.mkdir(exist_ok=True)
    server = runbooks.Other(sandbox, ["redis-server", "--port", str(sandbox.other_port), "--dir",
                                                str(folder), "--bind", "127.0.0.1", *words])
    sandbox.others.append(server)
    server.start()
    with server.client() as client:
        client.pipeline([["SET", "key:%d" % index, "value %d" % index] for index in range(50)])
        client.call("SETEX", "later", 10000, "x")
    return server


@pytest.mark.parametrize("left", ["folder", "rdb"])
def test_L46_from_redis(make_sandbox, left):
    page = runbooks.Page("from-redis")
    sandbox = make_sandbox()
    if left == "folder":
        redis(sandbox, "--appendonly", "yes", "--save", "")
    else:
        redis(sandbox, "--save", "3600 1")
    page.run(sandbox)
    # The one block or the other.
    skipped = page.skip(1 if left == "folder" else 0)
    page.run(sandbox)
    page.skip_to(skipped)
    page.run(sandbox, 2)
    assert keys(sandbox) == 51 and sandbox.node.call("GET", "key:7") == b"value 7"
    assert 9000 < sandbox.node.call("TTL", "later") <= 10000
    page.run(sandbox)
    page.finish()
    assert len(list(sandbox.dir.glob("*.imported-*"))) == 1


def test_L46_from_redis_what_cannot_be_held(make_sandbox):
    page = runbooks.Page("from-redis")
    sandbox = make_sandbox()
    server = redis(sandbox, "--save", "3600 1")
    server.call("XADD", "stream", "*", "field", "value")
    harness.run(["redis-cli", "-p", sandbox.other_port, "SHUTDOWN"])
    server.wait()
    shutil.copy(sandbox.root / "lib" / "redis" / "dump.rdb", sandbox.dir)
    said = sandbox.refused()
    page.expect(sandbox, said)
    assert "stream" in said


def test_L46_back_to_redis(make_sandbox):
    page = runbooks.Page("back-to-redis")
    sandbox = make_sandbox()
    (sandbox.root / "lib" / "redis").mkdir()
    fill(sandbox)
    page.run(sandbox, 2)
    output = page.run(sandbox)
    assert output.split() == ["50", "OK"], output
    assert sandbox.others[0].call("GET", "key:7") == b"value 7"
    page.finish()


def test_L46_restore_point_in_time(make_sandbox):
    page = runbooks.Page("restore-point-in-time")
    sandbox = make_sandbox()
    node = fill(sandbox)
    node.call("SET", "account:7", "100")
    before = node.call("TIME")
    assert harness.process.wait_until(lambda: node.call("TIME")[0] > before[0], 5)
    node.call("DEL", "account:7")
    page.substitute("2026-11-22T01:02:03Z", before[0].decode() + ".999")
    page.run(sandbox, 5)
    page.finish()
    assert sandbox.others[0].call("DBSIZE") == 51
