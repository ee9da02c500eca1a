"""What a node's disk does and holds: made slow or full (tests/crash/faulty_disk.c), and read as a restart would read it."""

import contextlib
import os
import shutil
import subprocess

import digests
import process
import resp
import servers
from fleet import Unexpected

ENOSPC = 28
# What an opening of a log writes of its own (the record of its reign) is behind what was there.
OPENING_BYTES = 512


class Disk:
    """The folder of a node that runs with the library, from its next start on."""

    def __init__(self, node, library):
        self.control = node.folder / "disk"
        node.environment.update({"LD_PRELOAD": str(library), "SKEIN_FAULT_DIR": "%s/" % node.folder,
                                 "SKEIN_FAULT_CONTROL": str(self.control)})
        self.says()

    def says(self, *lines):
        aside = self.control.with_suffix(".new")
        aside.write_text("".join(line + "\n" for line in lines), encoding="ascii")
        os.replace(aside, self.control)

    def slow(self, milliseconds):
        self.says("fdatasync delay %d" % milliseconds, "fsync delay %d" % milliseconds)

    def full(self):
        self.says("pwritev fail %d" % ENOSPC)


def log_ends(node):
    """What each shard's log holds, once all of it is on disk and no rewrite runs; None while it is not."""
    state = resp.fields(node.call("INFO", "persistence"))
    if state["aof_rewrite_in_progress"] != "0":
        return None
    ends, shard = [], 0
    while "aof_shard%d" % shard in state:
        row = dict(part.split("=") for part in state["aof_shard%d" % shard].split(","))
        if row["durable"] != row["end"]:
            return None
        ends.append(int(row["end"]))
        shard += 1
    return ends


class Image:
    """A copy of a node's log, opened by a node that knows nobody: what a restart would find."""

    def __init__(self, node, slots, folder, binary):
        self.node = node
        self.ends = []
        if not process.wait_until(lambda: self._settled(node), 30):
            raise Unexpected("node %d does not get its log to disk" % node.index)
        self.digest = node.call("DEBUG", "DIGEST")
        with node.client(timeout=30) as client:
            self.by_slot = digests.by_slot(client, slots)
        self.slots = slots
        self.folder = folder / ("image-%d" % node.index)
        shutil.copytree(node.folder / "appendonlydir", self.folder / "appendonlydir")
        self.port = servers.free_port()
        words = [binary, "--bind", "127.0.0.1", "--port", self.port, "--dir", self.folder, "--appendonly", "yes", "--save",
                 "", "--enable-debug-command", "yes", "--client-loops", 1,
                 "--storage-shards", node.fleet.directives["storage-shards"]]
        with open(self.folder / "node.log", "ab") as log:
            self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT)

    def _settled(self, node):
        with contextlib.suppress(OSError, resp.Error):
            self.ends = log_ends(node)
            return self.ends is not None
        return False

    def compare(self):
        """Why it holds other data than the node, or ""."""
        found = {}

        def loaded():
            if self.process.poll() is not None:
                raise Unexpected("what is on the disk of node %d is refused:\n%s" % (
                    self.node.index, (self.folder / "node.log").read_text(errors="replace")[-2000:]))
            with contextlib.suppress(OSError, resp.Error), resp.Client(self.port, timeout=10) as client:
                found["digest"] = client.call("DEBUG", "DIGEST")
                found["by slot"] = digests.by_slot(client, self.slots)
                state = resp.fields(client.call("INFO", "persistence"))
                found["ends"] = [int(state["aof_shard%d" % shard].split("end=")[1].split(",")[0])
                                 for shard in range(len(self.ends))]
                return True
            return False
        if not process.wait_until(loaded, 60):
            raise Unexpected("what is on the disk of node %d is not loaded" % self.node.index)
        words = digests.difference(self.by_slot, found["by slot"])
        if words or found["digest"] != self.digest:
            return "node %d: %s in memory, %s on disk; they differ in %s" % (
                self.node.index, self.digest.decode(), found["digest"].decode(), words or "slots that are not its own")
        if any(not 0 <= now - then <= OPENING_BYTES for then, now in zip(self.ends, found["ends"])):
            return "node %d: the logs end at %s in memory, at %s on disk" % (self.node.index, self.ends, found["ends"])
        return ""

    def close(self):
        self.process.kill()
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


def compare_with_disk(nodes, slots, folder, binary):
    """What a restart of each node would read is what it holds now. `slots`: by node, those of its group. No load runs."""
    images = []
    try:
        for node in nodes:
            images.append(Image(node, slots[node], folder, binary))
        return [words for words in (image.compare() for image in images) if words]
    finally:
        for image in images:
            image.close()
