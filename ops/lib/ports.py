"""Which ports are free, and who holds one that is not."""

import glob
import os
import socket


def is_free(port, host="127.0.0.1"):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port):
    """"NAME (pid N)" of the process that listens there, or None if it cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = file.read().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if words[3] == "0A" and int(words[1].rsplit(":", 1)[1], 16) == port:
                inodes.add("socket:[%s]" % words[9])
    if not inodes:
        return None
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(path) in inodes:
                pid = path.split("/")[2]
                with open("/proc/%s/comm" % pid, encoding="utf-8") as file:
                    return "%s (pid %s)" % (file.read().strip(), pid)
        except OSError:
            continue
    return None
