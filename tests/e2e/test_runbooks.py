"""L46: the pages under ops/runbooks. Each situation is brought about (test_runbooks_*.py), every command of its page runs,
and what the node and the tools say is what the page quotes. Here: no page, and no refusal, is left out."""

import pathlib
import re

import harness
import runbooks
from conftest import skein_only

pytestmark = skein_only


def test_L46_every_page_is_tested():
    """A page without a test of its own, or without a line in the index, does not get in."""
    index = (runbooks.FOLDER / "README.md").read_text(encoding="utf-8")
    here = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(__file__).parent.glob("test_runbooks_*.py"))
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
