"""A client's traffic through whatever happens to a cluster: this is python3-redis, js/traffic.js the others.

Some keys, each with one writer that waits for every answer: SET of the next number, then GET. For each line on the
standard input it says on the standard output what it has seen so far, as JSON: `written`, acknowledged writes by key;
`errors`, how many its commands ended with, and their `words`; `lost`, what was read and should have been another. It
ends with its standard input. Arguments: ports of the nodes.
"""

import json
import logging
import sys
import threading
import time

KEYS = 12
ERRORS_KEPT = 100
PAUSE_SECONDS = 0.005  # between two rounds of a key


class Traffic:
    def __init__(self, ports):
        self.written, self.errors, self.words, self.lost = [0] * KEYS, 0, [], []
        self.ports = ports
        self.lock = threading.Lock()

    def failed(self, error):
        with self.lock:
            self.errors += 1
            if len(self.words) < ERRORS_KEPT:
                self.words.append("%s: %s" % (type(error).__name__, error))
        time.sleep(0.01)

    def write(self, index):
        from redis.cluster import ClusterNode, RedisCluster
        client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in self.ports])
        key = "through:python:%d" % index
        number = known = 0
        while True:
            time.sleep(PAUSE_SECONDS)
            number += 1
            try:
                client.set(key, number)
                known = number
                self.written[index] += 1
            except Exception as error:  # Whatever a user of the library would get.
                self.failed(error)
            try:
                found = int(client.get(key) or 0)
            except Exception as error:
                self.failed(error)
                continue
            if not known <= found <= number:
                self.lost.append("%s: %d was read, %d was acknowledged" % (key, found, known))
                known = found

    def told(self):
        with self.lock:
            return json.dumps({"written": self.written, "errors": self.errors, "words": self.words, "lost": self.lost})


def main():
    logging.disable(logging.CRITICAL)
    traffic = Traffic([int(word) for word in sys.argv[1:]])
    for index in range(KEYS):
        threading.Thread(target=traffic.write, args=(index,), daemon=True).start()
    for _ in sys.stdin:
        print(traffic.told(), flush=True)


if __name__ == "__main__":
    main()
