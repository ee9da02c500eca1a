"""Calls Bazel and reads what it did from its build events, never from its text."""

import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.parse
import xml.etree.ElementTree

import terminal

ROOT = pathlib.Path(__file__).resolve().parents[2]


def environment():
    """Bazel's children find Debian's own tools first, whatever the caller's path says."""
    env = dict(os.environ)
    env["PATH"] = "/usr/bin:/bin:" + env.get("PATH", "")
    return env


def command(verb, *arguments):
    # BAZEL_OUTPUT_BASE: several checkouts, or a build beside another, on one machine.
    startup = []
    if os.environ.get("BAZEL_OUTPUT_BASE"):
        startup = ["--output_base=" + os.environ["BAZEL_OUTPUT_BASE"]]
    return ["bazel", *startup, verb, *arguments]


def progress_options():
    if terminal.is_terminal():
        return []
    return ["--color=no", "--curses=no", "--show_progress_rate_limit=15", "--noshow_loading_progress"]


def query(*arguments):
    """The output's lines of a Bazel command that prints a result."""
    done = subprocess.run(command(*arguments), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError("bazel %s failed:\n%s" % (" ".join(arguments), done.stderr.strip()))
    return done.stdout.split("\n")[:-1]


def build(*arguments):
    """Builds; returns the exit code."""
    return subprocess.run(command("build", *progress_options(), *arguments), cwd=ROOT, env=environment(),
                          stdin=subprocess.DEVNULL).returncode


def shut_down():
    subprocess.run(command("shutdown"), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


@dataclasses.dataclass
class Counts:
    """Test cases of one stage; every failure has a name."""

    passed: int = 0
    failures: list = dataclasses.field(default_factory=list)

    @property
    def failed(self):
        return len(self.failures)

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures

    def fail(self, name):
        self.failures.append(name)


def count_cases(path):
    """(passed, [names of failed], [names of skipped]) of a JUnit file; None if it holds no case."""
    try:
        tree = xml.etree.ElementTree.parse(path)
    except (OSError, xml.etree.ElementTree.ParseError):
        return None
    passed, failed, skipped = 0, [], []
    for case in tree.iter("testcase"):
        name = ".".join(part for part in (case.get("classname"), case.get("name")) if part)
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            skipped.append(name)
        else:
            passed += 1
    if not passed and not failed and not skipped:
        return None
    return passed, failed, skipped


def _xml_of(result):
    for output in result.get("testActionOutput", []):
        if output.get("name") == "test.xml" and output.get("uri", "").startswith("file://"):
            return urllib.parse.unquote(output["uri"][len("file://"):])
    return None


def _count_events(lines, where):
    """Test cases by Bazel's events: one `testResult` a run of a target, one `testSummary` a target."""
    results, summaries = {}, {}
    for line in lines:
        event = json.loads(line)
        kind = event.get("id", {})
        if "testResult" in kind and "testResult" in event:
            # A retried attempt replaces the one before it.
            results.setdefault(kind["testResult"]["label"], {})[kind["testResult"].get("shard", 1)] = event["testResult"]
        elif "testSummary" in kind and "testSummary" in event:
            summaries[kind["testSummary"]["label"]] = event["testSummary"].get("overallStatus")
        elif "targetCompleted" in kind and "aborted" in event:
            summaries.setdefault(kind["targetCompleted"]["label"], "FAILED_TO_BUILD")
        elif "targetCompleted" in kind and not event.get("completed", {}).get("success"):
            summaries.setdefault(kind["targetCompleted"]["label"], "FAILED_TO_BUILD")
    counts = Counts()
    for label in sorted(set(results) | set(summaries)):
        shards = results.get(label, {})
        if not shards:
            counts.fail("%s %s: %s" % (where, label, str(summaries.get(label)).lower().replace("_", " ")))
            continue
        for result in shards.values():
            ok = result.get("status") == "PASSED"
            cases = count_cases(_xml_of(result))
            if cases is None:
                if ok:
                    counts.passed += 1
                else:
                    counts.fail("%s %s: %s" % (where, label, str(result.get("status")).lower()))
                continue
            passed, failed, _ = cases
            counts.passed += passed
            for name in failed:
                counts.fail("%s %s %s" % (where, label, name))
            if not ok and not failed:
                # Crashed, timed out, or a sanitizer spoke after the last case.
                counts.fail("%s %s: %s" % (where, label, str(result.get("status")).lower()))
    return counts


def test(where, *arguments):
    """Runs tests and counts their cases. `where` names the stage in the names of failures."""
    with tempfile.TemporaryDirectory(prefix="skein-test-") as folder:
        events = os.path.join(folder, "events.json")
        code = subprocess.run(
            command("test", *progress_options(), "--keep_going", "--build_tests_only",
                    "--build_event_json_file=" + events, *arguments),
            cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL).returncode
        try:
            with open(events, encoding="utf-8") as file:
                counts = _count_events(file, where)
        except FileNotFoundError:
            counts = Counts()
    # 4: the build was fine, and there was no test to run.
    if code not in (0, 4) and not counts.failed:
        counts.fail("%s: bazel ended with exit code %d" % (where, code))
    return counts
