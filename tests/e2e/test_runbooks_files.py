"""L46: the pages about folders and their files, tried. See test_runbooks.py."""

import re
import shutil

import pytest

import harness
import runbooks
from conftest import skein_only
from runbooks import fill, keys, killed, newest, stopped

pytestmark = skein_only


def test_L46_torn_tail(make_sandbox):
    page = runbooks.Page("torn-tail")
    sandbox = make_sandbox()
    shard = killed(sandbox)
    torn = newest(sandbox, shard)
    bytes_of_it = torn.read_bytes()
    end = bytes_of_it.index(b"word" * 20) + 40
    torn.write_bytes(bytes_of_it[:end])
    # Once as the start cuts it.
    copy = make_sandbox()
    shutil.copytree(sandbox.dir / "appendonlydir", copy.dir / "appendonlydir")
    copy.start()
    page.expect(copy, copy.node.log_text())
    assert keys(copy) == 50 and copy.node.call("GET", "last") is None
    # Once not at all.
    strict = make_sandbox(aof_load_truncated="no")
    shutil.copytree(sandbox.dir / "appendonlydir", strict.dir / "appendonlydir")
    page.expect(strict, strict.refused())
    assert newest(strict, shard).read_bytes() == bytes_of_it[:end]
    # Once by hand.
    page.run(sandbox, 3)
    page.finish()
    assert (sandbox.root / "lib" / "appendonlydir.before-repair").is_dir()
    sandbox.start()
    assert keys(sandbox) == 50
    assert "torn tail" not in sandbox.node.log_text()


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_L46_corrupt_manifest(make_sandbox, damage):
    page = runbooks.Page("corrupt-manifest")
    sandbox = make_sandbox()
    stopped(sandbox)
    manifest = sandbox.dir / "appendonlydir" / "manifest"
    if damage == "gone":
        manifest.unlink()
        said = sandbox.refused()
        page.expect(sandbox, said)
        return
    manifest.write_text(manifest.read_text().replace("databases 16", "databases 17"))
    page.expect(sandbox, sandbox.refused())
    page.run(sandbox, 4)
    page.finish()
    assert keys(sandbox) == 50


def test_L46_corrupt_manifest_that_cannot_be_made_anew(make_sandbox):
    page = runbooks.Page("corrupt-manifest")
    sandbox = make_sandbox()
    stopped(sandbox)
    (sandbox.dir / "appendonlydir" / "manifest").write_text("junk")
    newest(sandbox, 1).unlink()
    done = harness.run([runbooks.AOF, "repair", sandbox.dir, "--rebuild-manifest"], check=False)
    assert done.returncode == 2
    page.expect(sandbox, re.sub(r"(?m)^ops/aof: ", "", done.stdout))


def test_L46_missing_file(make_sandbox):
    page = runbooks.Page("missing-file")
    sandbox = make_sandbox()
    stopped(sandbox)
    newest(sandbox, 0).unlink()
    page.expect(sandbox, sandbox.refused())
    page.run(sandbox, 2)
    newest(sandbox, 0).unlink()
    page.run(sandbox, 2)
    page.finish()
    assert keys(sandbox) == 50


def test_L46_folder_in_use(make_sandbox):
    page = runbooks.Page("folder-in-use")
    sandbox = make_sandbox()
    fill(sandbox)
    second = make_sandbox(dir=sandbox.dir)
    page.expect(sandbox, second.refused())
    page.run(sandbox, 3)
    page.finish()


def test_L46_corrupt_file(make_sandbox):
    page = runbooks.Page("corrupt-file")
    sandbox = make_sandbox()
    stopped(sandbox)
    log = newest(sandbox, 0)
    # In the last key's record, which the manifest knows to be on disk.
    whole = log.read_bytes()
    at = whole.rindex(b"value ")
    log.write_bytes(whole[:at] + b"V" + whole[at + 1:])
    page.expect(sandbox, sandbox.refused())
    page.run(sandbox, 5)
    page.finish()
    assert keys(sandbox) == 50
    sandbox.stop()
    # The way without a copy loses what one shard was told last.
    sandbox.write_configuration(dir=sandbox.root / "lib" / "skein.salvaged")
    sandbox.start()
    assert keys(sandbox) == 49


def test_L46_shard_count(make_sandbox):
    page = runbooks.Page("shard-count")
    sandbox = make_sandbox()
    stopped(sandbox)
    sandbox.write_configuration(storage_shards=3)
    page.expect(sandbox, sandbox.refused())
    page.run(sandbox, 3)
    page.finish()
    assert keys(sandbox) == 50
    sandbox.stop()
    sandbox.write_configuration(databases=4)
    page.expect(sandbox, sandbox.refused())


def test_L46_switched_off(make_sandbox):
    page = runbooks.Page("switched-off")
    sandbox = make_sandbox(appendonly="no", save="3600 1")
    fill(sandbox)
    page.run(sandbox, 3)
    assert "appendonly yes" in sandbox.configuration.read_text()
    sandbox.node.kill()
    sandbox.start()
    assert keys(sandbox) == 50
    sandbox.node.call("SET", "new", "1")
    page.run(sandbox)
    sandbox.stop()
    sandbox.write_configuration(appendonly="yes", save='""')
    page.expect(sandbox, sandbox.refused())
    page.run(sandbox)
    page.finish()
    assert keys(sandbox) == 51


def test_L46_newer_version(make_sandbox):
    page = runbooks.Page("newer-version")
    sandbox = make_sandbox()
    stopped(sandbox)
    manifest = sandbox.dir / "appendonlydir" / "manifest"
    ours = manifest.read_text()
    newer = ours.replace("skein-manifest 1", "skein-manifest 2").rsplit("checksum", 1)[0]
    manifest.write_text("%schecksum %08x\n" % (newer, crc32c(newer.encode())))
    page.expect(sandbox, sandbox.refused())
    page.run(sandbox)
    # As by the version that wrote it.
    manifest.write_text(ours)
    page.run(sandbox)
    page.finish()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
