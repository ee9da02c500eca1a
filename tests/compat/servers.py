"""Servers for comparisons: each in a folder of its own on a free port, ended with the block."""
import os
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'ops', 'lib'))

import process  # noqa: E402
import raw_resp  # noqa: E402
import redis_server  # noqa: E402


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    return port if port < 50000 else port - 30000  # the bus port is 10000 above it


class Server:
    """with Server(binary, cluster) as connection: ... The node owns all slots if it is one of a cluster."""

    def __init__(self, binary, cluster, extra=()):
        self.dir = tempfile.TemporaryDirectory()
        self.port = free_port()
        args = [binary, '--port', str(self.port), '--bind', '127.0.0.1', '--dir', self.dir.name,
                '--cluster-enabled', 'yes' if cluster else 'no', *extra]
        if os.path.basename(binary).startswith('redis'):
            args += ['--save', '']
            redis_server.put_on_path()
        self.log = open(os.path.join(self.dir.name, 'log'), 'wb')
        self.process = subprocess.Popen(args, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        try:
            self._await(lambda: self.connect().run('PING') == b'+PONG\r\n')
            self.connection = self.connect()
            if cluster:
                if b'cluster_slots_assigned:16384' not in self.connection.run('CLUSTER', 'INFO'):
                    self.connection.run('CLUSTER', 'ADDSLOTSRANGE', 0, 16383)
                self._await(lambda: b'cluster_state:ok' in self.connection.run('CLUSTER', 'INFO'))
        except BaseException:
            self.__exit__()
            raise

    def connect(self):
        return raw_resp.Connection(self.port)

    def _await(self, condition, seconds=20):
        def holds():
            try:
                return condition() or self.process.poll() is not None
            except OSError:
                return self.process.poll() is not None
        if not process.wait_until(holds, seconds) or self.process.poll() is not None:
            with open(self.log.name, encoding='utf-8', errors='replace') as f:
                raise RuntimeError('the server does not serve:\n' + f.read()[-2000:])

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        if hasattr(self, 'connection'):
            self.connection.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.dir.cleanup()
