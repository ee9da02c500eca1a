"""redis-server, the peer: where Debian's package of that name, which starts a service, is not installed, redis-tools
holds the same program as redis-check-rdb, which heeds the name that it is called by."""

import atexit
import os
import pathlib
import shutil
import tempfile


def put_on_path():
    """From now on `redis-server` is a program that this process, and those that it starts, find."""
    if shutil.which("redis-server"):
        return
    program = shutil.which("redis-check-rdb")
    if program is None:
        raise RuntimeError("there is no redis-server here; ops/install brings it")
    folder = tempfile.mkdtemp(prefix="skein-redis-")
    mine = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == mine else None)
    (pathlib.Path(folder) / "redis-server").symlink_to(program)
    os.environ["PATH"] = folder + os.pathsep + os.environ.get("PATH", os.defpath)
