"""L46: the pages about disks that fail, tried. See test_runbooks.py."""

import pathlib

import pytest

import harness
import runbooks
from conftest import skein_only
from runbooks import await_on_disk, fill, keys

pytestmark = skein_only


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """The library that makes a node's disk fail."""
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    harness.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library,
                 pathlib.Path(__file__).with_name("faults.c"), "-ldl"])
    return library


def with_faults(sandbox, library):
    """Where to put the files that make the sandbox's next node fail."""
    folder = sandbox.root / "faults"
    folder.mkdir()
    sandbox.preload = {"LD_PRELOAD": str(library), "SKEIN_FAULTS": str(folder)}
    return folder


def refusal_of_writes(sandbox):
    """Writes until a write is refused; the refusal, in the page's words."""
    refusals = []

    def refused():
        with sandbox.node.client() as client:
            for index in range(20):
                try:
                    client.call("SET", "filler:%d" % index, "x" * 20000)
                except harness.resp.Error as error:
                    refusals.append(sandbox.shown(str(error)))
                    return True
        return False

    assert harness.process.wait_until(refused, 20), sandbox.node.log_text()
    return refusals[0]


def takes_writes(sandbox):
    def taken():
        try:
            return all(sandbox.node.call("SET", "probe:%d" % index, "1") == b"OK" for index in range(8))
        except harness.resp.Error:
            return False

    assert harness.process.wait_until(taken, 20), sandbox.node.log_text()


@pytest.fixture
def small_disk():
    """Makes a folder a file system of its own of 4 MiB; False where that is not allowed."""
    mounted = []

    def make(folder):
        if harness.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], check=False).returncode != 0:
            return False
        mounted.append(folder)
        return True

    yield make
    for folder in mounted:
        harness.run(["umount", "-l", folder])


def test_L46_disk_full(make_sandbox, small_disk, faults):
    page = runbooks.Page("disk-full")
    sandbox = make_sandbox()
    fails = with_faults(sandbox, faults)
    real = small_disk(sandbox.dir)
    fill(sandbox)
    ballast = sandbox.dir / "ballast"
    if real:
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
    else:
        ballast.touch()
        (fails / "write").write_text("/incr.")
    refusal = refusal_of_writes(sandbox)
    assert refusal in page.messages() or page.quotes(refusal), refusal
    page.expect(sandbox, sandbox.node.log_text())
    assert sandbox.node.call("GET", "key:7") == b"value 7", "reads go on"
    page.run(sandbox, 2)
    if not real:
        (fails / "write").unlink()
    takes_writes(sandbox)
    page.run(sandbox, 2)
    page.finish()
    await_on_disk(sandbox, "written")
    sandbox.node.kill()
    sandbox.start()
    assert sandbox.node.call("GET", "written") == b"again"


def test_L46_failed_sync(make_sandbox, faults):
    page = runbooks.Page("failed-sync")
    sandbox = make_sandbox()
    fails = with_faults(sandbox, faults)
    fill(sandbox)
    (fails / "fsync").write_text("/appendonlydir/")
    refusal = refusal_of_writes(sandbox)
    assert page.quotes(refusal), refusal
    assert sandbox.node.call("GET", "key:7") == b"value 7", "reads go on"
    page.run(sandbox)
    (fails / "fsync").unlink()
    takes_writes(sandbox)
    page.run(sandbox, 2)
    page.finish()
    await_on_disk(sandbox, "written")
    sandbox.node.kill()
    sandbox.start()
    assert sandbox.node.call("GET", "written") == b"again" and sandbox.node.call("GET", "key:7") == b"value 7"


def test_L46_failed_sync_under_always(make_sandbox, faults):
    page = runbooks.Page("failed-sync")
    sandbox = make_sandbox(appendfsync="always")
    fails = with_faults(sandbox, faults)
    fill(sandbox)
    (fails / "fsync").write_text("/incr.")
    with sandbox.node.client() as client:
        client.send("SET", "doubtful", "1")
        client.at_end()
    assert sandbox.node.wait() == 1
    page.expect(sandbox, sandbox.node.log_text())
    (fails / "fsync").unlink()
    sandbox.start()
    assert keys(sandbox) in (50, 51)
