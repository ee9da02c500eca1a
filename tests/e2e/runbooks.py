"""Pages under ops/runbooks, taken apart, and a sandbox in which their commands run as they stand there.

A fenced block's first line says what it is: `sh run`, `sh run exit=N`, `text message`, `text output`. Where a page says
/var/lib, /etc/skein, /srv/backup and port 6379, the sandbox has folders and a port of its own.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess

import harness

FOLDER = harness.ROOT / "ops" / "runbooks"
AOF = os.environ.get("SKEIN_AOF") or str(harness.ROOT / "bazel-bin" / "ops" / "skein-aof")
KINDS = re.compile(r"sh run( exit=\d+)?|text message|text output")


def names():
    return sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")


def pattern(line):
    """A line of a page as a regular expression: `…` stands for anything."""
    return ".*".join(re.escape(part) for part in line.split("…"))


class Block:
    def __init__(self, kind, lines, where):
        self.kind, self.lines, self.where = kind, lines, where
        self.exit = int(kind.split("exit=")[1]) if "exit=" in kind else 0


class Page:
    """A page and what of it has been run."""

    def __init__(self, name):
        self.name = name
        self.text = (FOLDER / (name + ".md")).read_text(encoding="utf-8")
        self.blocks = []
        self.next = 0
        fence = None
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.startswith("```") and fence is None:
                fence = (line[3:].strip(), [], number)
            elif line.startswith("```"):
                kind, lines, first = fence
                assert KINDS.fullmatch(kind), "%s.md:%d: not a kind of block: %r" % (name, first, kind)
                self.blocks.append(Block(kind, lines, "%s.md:%d" % (name, first)))
                fence = None
            elif fence is not None:
                fence[1].append(line)
        assert fence is None, "%s.md: a block has no end" % name

    def messages(self):
        return [line for block in self.blocks if block.kind == "text message" for line in block.lines]

    def quotes(self, message):
        """Whether a line of its message blocks is this message."""
        return any(re.fullmatch(pattern(line), message) for line in self.messages())

    def expect(self, sandbox, said):
        """One of the lines in `said` is a message that the page quotes; returns it."""
        for line in harness.messages(sandbox.shown(said)):
            if self.quotes(line):
                return line
        raise AssertionError("%s.md quotes none of:\n%s" % (self.name, said))

    def pass_messages(self):
        while self.blocks[self.next].kind == "text message":
            self.next += 1

    def run(self, sandbox, blocks=1):
        """Runs the next blocks of commands, each compared with the output block behind it; returns all output."""
        everything = ""
        for _ in range(blocks):
            self.pass_messages()
            block = self.blocks[self.next]
            assert block.kind.startswith("sh run"), "%s: output without commands" % block.where
            self.next += 1
            output = "".join(sandbox.run(line, block) for line in block.lines if line.strip())
            everything += output
            if self.next < len(self.blocks) and self.blocks[self.next].kind == "text output":
                self.compare(self.blocks[self.next], output)
                self.next += 1
        return everything

    def skip(self, ahead):
        """Leaves the block `ahead` of the next two alternatives out: a page may offer one way or another."""
        self.pass_messages()
        after = self.next + 2
        assert all(block.kind.startswith("sh run") for block in self.blocks[self.next:after])
        self.next += 1 - ahead
        return after

    def skip_to(self, block):
        self.next = block

    def substitute(self, there, here):
        """What a reader puts in the place of an example."""
        for block in self.blocks:
            block.lines = [line.replace(there, here) for line in block.lines]

    def compare(self, block, output):
        """The block's lines appear in the output in this order; other lines may stand between them."""
        lines = iter(output.splitlines())
        for wanted in block.lines:
            if not any(re.fullmatch(pattern(wanted), line) for line in lines):
                raise AssertionError("%s: %r is not (in this order) in:\n%s" % (block.where, wanted, output))

    def finish(self):
        left = [block.where for block in self.blocks[self.next:] if block.kind != "text message"]
        assert not left, "not run: %s" % ", ".join(left)


class Sandbox:
    """Folders, a node's configuration, and the commands of a page. end() stops what was started."""

    def __init__(self, tmp_path, **directives):
        self.root = pathlib.Path(tmp_path)
        self.dir = self.root / "lib" / "skein"
        self.dir.mkdir(parents=True)
        self.backup = self.root / "backup"
        self.backup.mkdir()
        self.etc = self.root / "etc"
        self.etc.mkdir()
        self.port = harness.free_port()
        self.other_port = harness.free_port()
        self.directives = {"bind": "127.0.0.1", "port": self.port, "dir": self.dir, "cluster-bootstrap": "yes",
                           "cluster-node-timeout": 2000, "appendonly": "yes", "client-loops": 2, "storage-shards": 2}
        self.directives.update({name.replace("_", "-"): value for name, value in directives.items()})
        self.write_configuration()
        self.environment = dict(os.environ, SKEIN_NODE=harness.BINARY, SKEIN_AOF=AOF, NO_COLOR="1")
        self.node = None
        self.others = []
        self.preload = {}  # environment of nodes only

    # ---- The node ---------------------------------------------------------------------------------------------------
    @property
    def configuration(self):
        return self.etc / "skein.conf"

    def write_configuration(self, **changes):
        self.directives.update({name.replace("_", "-"): value for name, value in changes.items()})
        self.configuration.write_text("".join("%s %s\n" % item for item in self.directives.items()), encoding="utf-8")

    def start(self):
        self.node = ConfiguredNode(self)
        self.node.start()
        if self.directives.get("cluster-enabled", "yes") == "yes":
            self.node.await_state("ok")
        return self.node

    def refused(self):
        """Starts the node, which must refuse with exit code 2; what it says, which --check-config says too."""
        node = ConfiguredNode(self)
        node.launch()
        assert node.process.wait(30) == 2, node.log_text()
        said = node.log_text()
        checked = harness.run([harness.BINARY, self.configuration, "--check-config"], check=False, cwd=self.root,
                              env=self.environment)
        assert checked.returncode == 2, checked.stdout
        assert harness.messages(checked.stdout)[-1] == harness.messages(said)[-1]
        return checked.stdout

    def stop(self):
        assert self.node.terminate() == 0, self.node.log_text()

    def end(self):
        for node in [self.node, *self.others]:
            if node is not None:
                node.clean_up()

    # ---- Commands ---------------------------------------------------------------------------------------------------
    def replaced(self, line):
        for there, here in (("/var/lib/", self.root / "lib"), ("/etc/skein/", self.etc), ("/srv/backup/", self.backup)):
            line = line.replace(there, str(here) + "/")
        return re.sub(r"\b6380\b", str(self.other_port), re.sub(r"\b6379\b", str(self.port), line))

    def shown(self, text):
        """What was said, with the page's names for the sandbox's folders and ports."""
        for there, here in (("/var/lib", self.root / "lib"), ("/etc/skein", self.etc), ("/srv/backup", self.backup)):
            text = text.replace(str(here), there)
        return re.sub(r"\b%d\b" % self.other_port, "6380", re.sub(r"\b%d\b" % self.port, "6379", text))

    def run(self, line, block):
        words = shlex.split(line)
        if words == ["skein-node", "/etc/skein/skein.conf"]:
            self.start()
            return ""
        if words[0] in ("redis-server", "skein-node") and "--port" in words:
            return self.start_other(words)
        line = re.sub(r"^skein-node\b", shlex.quote(harness.BINARY), self.replaced(line))
        done = subprocess.run(["bash", "-c", "set -o pipefail; " + line], cwd=harness.ROOT, env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=120, check=False)
        output = self.shown(done.stdout)
        assert done.returncode == block.exit, "%s: %s\nexit code %d:\n%s" % (block.where, line, done.returncode, output)
        if words[-1] == "SHUTDOWN":
            # A person waits for the process to be gone, too.
            port = self.port if "6379" in words else self.other_port
            for server in [self.node, *self.others]:
                if server is not None and server.port == port:
                    server.wait()
        if words[:1] == ["redis-cli"]:
            assert not re.search(r"(?m)^(ERR|MISCONF|MOVED|CLUSTERDOWN|LOADING|WRONGTYPE) |Could not connect", output), (
                "%s: %s" % (line, output))
        return output

    def start_other(self, words):
        """A server beside the node, as the page starts it."""
        words = [harness.BINARY if word == "skein-node" else self.replaced(word) for word in words]
        server = Other(self, words + ["--bind", "127.0.0.1"])
        self.others.append(server)
        server.start()
        if words[0] == harness.BINARY:
            server.await_state("ok")
        return ""


class ConfiguredNode(harness.Node):
    """The node of /etc/skein/skein.conf."""

    def __init__(self, sandbox):
        super().__init__(sandbox.root / "lib", port=sandbox.port)
        self.sandbox = sandbox
        if self.log.exists():
            self.log.unlink()

    def command(self):
        environment = ["%s=%s" % item for item in self.sandbox.preload.items()]
        return ["env", *environment, harness.BINARY, str(self.sandbox.configuration)]


class Other(harness.Node):
    """A server on the pages' port 6380, by its whole command line."""

    def __init__(self, sandbox, words):
        super().__init__(sandbox.root / "other", port=sandbox.other_port)
        self.words = words

    def command(self):
        return self.words


# ---- Folders with something in them ---------------------------------------------------------------------------------
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


def await_on_disk(sandbox, key):
    """Until what the key's shard was told is on disk: under everysec an answer alone does not promise that."""
    with sandbox.node.client(timeout=30) as client:
        client.call("SET", "{%s}:last" % key, "1")
        assert client.call("WAITAOF", 1, 0, 20000) == [1, 0], sandbox.node.log_text()


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
