"""A short load by a cluster client that follows MOVED: python3-redis."""

import time

import redis
from redis.cluster import ClusterNode, RedisCluster

import cluster
import resp
import terminal

KEYS = 10000
KEPT_SECONDS = 600
PREFIX = "skein-demo:"


def _show_redirection(plan):
    """One key, asked of a node that does not own it."""
    key = PREFIX + "0"
    for port in plan.ports:
        with resp.Client(port) as client:
            try:
                client.call("SET", key, "hello", "EX", KEPT_SECONDS)
            except resp.Error as error:
                if error.code != "MOVED":
                    raise
                owner = str(error).rsplit(":", 1)[1]
                with resp.Client(int(owner)) as second:
                    answer = second.call("SET", key, "hello", "EX", KEPT_SECONDS).decode()
                terminal.say("  SET %s to 127.0.0.1:%d  ->  %s" % (key, port, error))
                terminal.say("  SET %s to 127.0.0.1:%s  ->  %s" % (key, owner, answer))
                return


def run(plan):
    """Shows the load, or says what the client said against it."""
    try:
        _show_redirection(plan)
        _write_and_read(plan)
    except (redis.RedisError, redis.exceptions.RedisClusterException, resp.Error) as error:
        raise cluster.Problem("the cluster does not serve the load: %s" % error) from error


def _write_and_read(plan, seconds=2.0):
    """Writes and reads keys one command at a time, and checks what it reads."""
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in plan.ports], socket_timeout=10)
    # What a person did not ask for goes away by itself; what is there of theirs is not touched.
    written, operations, latencies = 0, 0, []
    start = time.perf_counter()
    try:
        while True:
            key, value = PREFIX + str(written % KEYS), "value-%d" % written
            before = time.perf_counter()
            client.set(key, value, ex=KEPT_SECONDS)
            middle = time.perf_counter()
            found = client.get(key)
            after = time.perf_counter()
            if found != value.encode():
                raise redis.RedisError("read %r from %s after writing %r" % (found, key, value))
            latencies += [middle - before, after - middle]
            written += 1
            operations += 2
            if after - start >= seconds:
                break
    finally:
        client.disconnect_connection_pools()
    latencies.sort()
    rate = operations / (time.perf_counter() - start)
    terminal.say("  %s SET and GET by python3-redis RedisCluster, one at a time: %s a second, median %d µs, p99 %d µs"
                 % (terminal.count(operations), terminal.count(rate), latencies[len(latencies) // 2] * 1e6,
                    latencies[len(latencies) * 99 // 100] * 1e6))
