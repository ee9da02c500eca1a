"""L46: the pages under ops/runbooks. Each situation is brought about, every command of its page runs, and what the node
and the tools say is what the page quotes."""

import pathlib
import re
import shutil

import pytest

import harness
import runbooks
from conftest import skein_only

pytestmark = skein_only


@pytest.fixture
def make_sandbox(tmp_path):
    made = []

    def make(**directives):
        made.append(runbooks.Sandbox(tmp_path / ("sandbox-%d" % len(made)), **directives))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.end()


def fill(sandbox, count=50):
    """Starts the node and writes some keys."""
    node = sandbox.start()
    with node.client() as client:
        client.pipeline([["SET", "key:%d" % index, "value %d" % index] for index in range(count)])
    return node


def newest(sandbox, shard):
    """The shard's newest incr file."""
    folder = sandbox.dir / "appendonlydir" / ("shard-%d" % shard)
    return max(folder.glob("incr.*.aof"), key=lambda path: int(path.name.split(".")[1]))


def killed(sandbox):
    """A folder with data whose node was killed, once all of it is in the files."""
    node = fill(sandbox)
    shard = harness.key_slot("last") % 2
    node.call("SET", "last", "word" * 20)
    assert harness.process.wait_until(lambda: b"word" * 20 in newest(sandbox, shard).read_bytes(), 10)
    node.kill()
    return shard


def stopped(sandbox):
    """A folder with data, after a clean end, with a backup of it."""
    fill(sandbox)
    sandbox.stop()
    shutil.copytree(sandbox.dir / "appendonlydir", sandbox.backup / "appendonlydir")


def keys(sandbox):
    return sandbox.node.call("DBSIZE")


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


def test_L46_every_page_is_tested():
    """A page without a test of its own, or without a line in the index, does not get in."""
    index = (runbooks.FOLDER / "README.md").read_text(encoding="utf-8")
    here = pathlib.Path(__file__).read_text(encoding="utf-8")
    for name in runbooks.names():
        assert "[%s](%s.md)" % (name, name) in index, name
        assert 'runbooks.Page("%s")' % name in here, name
        assert runbooks.Page(name).messages() or name in ("back-to-redis", "restore-point-in-time"), name
    for name in re.findall(r"\]\(([\w-]+)\.md\)", index):
        assert (runbooks.FOLDER / (name + ".md")).is_file(), name


# ---- What the source says ----------------------------------------------------------------------------------------------
TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'|[;{}]|[^;{}"\'/]+|/', re.S)
SOURCES = ("storage", "node", "ops/aof_tool")
# Where refusals get their last form: what a status says here is what a person reads.
OUTERMOST = ("storage/layout.cc", "storage/recovery.cc", "storage/flip.cc", "storage/offline.cc", "storage/data_set.cc",
             "storage/log_set.cc", "storage/import/import.cc", "storage/import/aof_runner.cc", "storage/reshard.cc",
             "storage/restore.cc", "storage/export.cc")
# Refusals without a page, each for a reason.
WITHOUT_PAGE = {
    # They name the directive that is wrong; there is nothing more to say.
    "storage-shards must be 1 to ", "databases must be 1 to ", 'appenddirname must be a name, not a path: "',
    # Parts of a message: what calls them adds the page.
    "a key of database ", "a key of another shard than ", "the file is incomplete", "its checksum does not match",
    "written by a newer version", 'not a name: "', "the data is in database ", "; choose a folder without a data set",
}


def literals(text):
    """The string literals of each statement, in order, with the words around them."""
    words = []
    for token in TOKENS.findall(text):
        if token in (";", "{", "}"):
            yield words
            words = []
        elif not token.startswith(("//", "/*")):
            words.append(token)


def strings(words):
    return [word[1:-1].encode().decode("unicode_escape") for word in words if word.startswith('"')]


def sources():
    for folder in SOURCES:
        for path in sorted((harness.ROOT / folder).rglob("*.cc")):
            if not path.name.endswith(("_test.cc", "_fuzz.cc", "_bench.cc")):
                yield path.relative_to(harness.ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_L46_pages_quote_the_messages_that_name_them():
    """Every statement in the source that names a page: the page is there, and its message blocks hold the words."""
    known = re.findall(r'(?m)^    "([a-z-]+)",', (harness.ROOT / "storage" / "runbook.h").read_text(encoding="utf-8"))
    assert sorted(known) == runbooks.names()
    named = set()
    for path, text in sources():
        for words in literals(text):
            found = strings(words)
            for name in [string for string in found if string in known]:
                named.add(name)
                quoted = "\n".join(runbooks.Page(name).messages())
                for string in found:
                    if string != name and len(string.strip()) >= 10:
                        assert string.strip() in quoted, "%s: %r is not quoted by %s.md" % (path, string, name)
    assert named >= {"disk-full", "failed-sync", "corrupt-manifest", "missing-file", "corrupt-file", "shard-count",
                     "folder-in-use", "newer-version", "from-redis"}


def test_L46_refusals_name_a_page():
    used = set()
    for path, text in sources():
        for words in literals(text):
            found = strings(words)
            page = any(string in runbooks.names() for string in found)
            for string in found:
                if string.startswith("MISCONF"):
                    assert page, "%s: %r names no page" % (path, string)
            if path not in OUTERMOST or page or not any(len(string.strip()) >= 10 for string in found):
                continue
            if re.search(r"(DataLoss|FailedPrecondition)Error\(", "".join(words)):
                excused = [string for string in found if string in WITHOUT_PAGE]
                assert excused, "%s: %r names no page" % (path, found)
                used.update(excused)
    # The list does not outlive what it excuses.
    assert used == WITHOUT_PAGE
