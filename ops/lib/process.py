"""Processes that outlive the script that started them: known by pid and start time, ended by what was started."""

import os
import select
import signal
import time


def start_time(pid):
    """Clock ticks since boot at which the process started; None if there is none. With the pid it names one process."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            rest = file.read().rsplit(b")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if rest[0] in (b"Z", b"X") else int(rest[19])


def write_pid_file(path, pid):
    aside = path + ".new"
    with open(aside, "w", encoding="ascii") as file:
        file.write("%d %d\n" % (pid, start_time(pid) or 0))
    os.replace(aside, path)


def read_pid_file(path):
    """The pid if the process that the file names is running, else None."""
    try:
        with open(path, encoding="ascii") as file:
            pid, started = (int(word) for word in file.read().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid if pid > 0 and start_time(pid) == started else None


class Handle:
    """A running process, held so that its pid cannot come to mean another."""

    def __init__(self, pid):
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        os.close(self._fd)

    def wait(self, timeout):
        """True as soon as it has exited; False after `timeout` seconds."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(max(0, timeout) * 1000))

    def signal(self, number):
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            pass


def stop(pid_file, patience=15):
    """Ends the process that the file names. Returns "not running", "stopped", or "killed" if it did not end in
    `patience` seconds after SIGTERM."""
    pid = read_pid_file(pid_file)
    if pid is None:
        return "not running"
    try:
        handle = Handle(pid)
    except ProcessLookupError:
        return "not running"
    with handle:
        # Between the look and the hold the pid may have come to mean another.
        if read_pid_file(pid_file) != pid:
            return "not running"
        handle.signal(signal.SIGTERM)
        outcome = "stopped"
        if not handle.wait(patience):
            handle.signal(signal.SIGKILL)
            handle.wait(60)
            outcome = "killed"
    return outcome


def wait_until(condition, timeout, interval=0.02):
    """Asks until the answer is true; returns it, or the last false one after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer or time.monotonic() >= deadline:
            return answer
        time.sleep(interval)


def holds_for(condition, seconds, interval=0.05):
    """Asks for so long whether it is still true; returns the first false answer, or the last true one."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if not answer or time.monotonic() >= deadline:
            return answer
        time.sleep(interval)
