#!/usr/bin/python3
"""Runs the same seeded random commands against redis-server and skein-node and compares the raw replies.

    compare.py [--binary bazel-bin/node/skein-node] [--seed N] [--commands N] [--resp 2|3] [--cluster] [--shards N]

Both servers are started by the script and ended with it. Commands go out in pipelines of random length. Replies must be
equal byte for byte, except where the documentation leaves them open: orders of KEYS and SCAN, the key of RANDOMKEY, and
what depends on the instant (TTL and its relatives: within two seconds). At the end the whole data sets are compared.
Exit code 0: no difference; 1: differences, printed with the seed; 2: a server did not start.
"""
import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from raw_resp import parse  # noqa: E402
from servers import Server  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# What differs by design: the command and the replies, (redis, skein), or a rule on them.
#  OBJECT REFCOUNT  Redis shares the objects of small integers and answers 2147483647; here no value is shared.
#  OBJECT ENCODING  A number that came from INCRBYFLOAT, SETRANGE or APPEND may be held as an integer here.
BY_DESIGN = {
    (b'OBJECT', b'REFCOUNT'): lambda ours, theirs: ours == b':1\r\n' and theirs[:1] == b':',
    (b'OBJECT', b'ENCODING'): lambda ours, theirs: ours[:1] == theirs[:1] == b'$',
}
# What is sent with any number of words: no order, chance or time to live in it, and nothing that ends a server.
DATA_COMMANDS = ('set setnx get getex getdel getset mget mset msetnx append strlen setrange getrange substr incr decr incrby '
                 'decrby incrbyfloat lcs del unlink exists touch type rename renamenx copy move persist ttl dbsize flushdb '
                 'swapdb object echo').split()
NEAR = {b'TTL': 2, b'EXPIRETIME': 2, b'PTTL': 2000, b'PEXPIRETIME': 2000}


class Generator:
    def __init__(self, seed, cluster):
        self.random = random.Random(seed)
        self.spans = []
        self.cluster = cluster
        self.templates = [(weight, words.split()) for weight, words in (
            (12, 'SET k v'), (8, 'GET k'), (3, 'SET k v setopt'), (3, 'SET k v setopt setopt'),
            (1, 'SET k v setopt setopt setopt'), (2, 'SETNX k v'), (2, 'SETEX k secs v'), (2, 'PSETEX k millis v'),
            (2, 'GETSET k v'), (2, 'GETDEL k'), (3, 'GETEX k'), (3, 'GETEX k getexopt'), (1, 'GETEX k getexopt getexopt'),
            (3, 'MSET k v k v'), (1, 'MSET k v k'), (2, 'MSETNX k v k v'), (3, 'MGET k k k'), (4, 'APPEND k v'),
            (3, 'STRLEN k'), (3, 'SETRANGE k off v'), (3, 'GETRANGE k idx idx'), (1, 'SUBSTR k idx idx'),
            (5, 'INCR k'), (4, 'DECR k'), (4, 'INCRBY k n'), (3, 'DECRBY k n'), (4, 'INCRBYFLOAT k f'),
            (1, 'LCS k k'), (1, 'LCS k k lcsopt'), (1, 'LCS k k lcsopt lcsopt'), (1, 'LCS k k IDX lcsopt WITHMATCHLEN'),
            (3, 'DEL k'), (1, 'DEL k k k'), (1, 'UNLINK k k'), (3, 'EXISTS k k'), (2, 'TOUCH k k'), (2, 'TYPE k'),
            (3, 'RENAME k k'), (2, 'RENAMENX k k'), (2, 'COPY k k'), (1, 'COPY k k REPLACE'), (1, 'COPY k k DB db'),
            (1, 'COPY k k DB db REPLACE'), (1, 'MOVE k db'), (3, 'EXPIRE k secs'), (3, 'EXPIRE k secs cond'),
            (1, 'EXPIRE k secs cond cond'), (2, 'PEXPIRE k millis cond'), (2, 'EXPIREAT k at'), (2, 'PEXPIREAT k atms'),
            (3, 'TTL k'), (2, 'PTTL k'), (2, 'EXPIRETIME k'), (2, 'PEXPIRETIME k'), (2, 'PERSIST k'), (1, 'KEYS pattern'),
            (1, 'SCAN 0 COUNT 100000 MATCH pattern'), (1, 'SCAN 0 scanopt'), (1, 'SCAN junkword'), (1, 'RANDOMKEY'),
            (2, 'DBSIZE'), (1, 'SWAPDB db db'), (3, 'SELECT db'), (2, 'OBJECT ENCODING k'), (1, 'OBJECT REFCOUNT k'),
            (1, 'OBJECT FREQ k'), (1, 'OBJECT junk k'), (1, 'COMMAND GETKEYS any'), (1, 'COMMAND GETKEYSANDFLAGS any'),
            (1, 'COMMAND LIST FILTERBY PATTERN getde*'), (1, 'junk k v'), (2, 'any'), (1, 'PING'), (1, 'ECHO v'),
            (1, 'PING v'), (1, 'FLUSHDB junk'), (1, 'CLIENT SETNAME name'), (1, 'CLIENT GETNAME'), (1, 'CLIENT GETREDIR'),
            (1, 'CLIENT NO-EVICT onoff'), (1, 'CLIENT UNBLOCK junkword'), (1, 'CLIENT KILL junkword junkword'),
            (1, 'CLIENT LIST junkword'), (1, 'CLIENT PAUSE junkword'), (1, 'CLIENT REPLY junkword'), (1, 'CLIENT junkword'),
            (1, 'HELLO hello'), (1, 'AUTH name'), (1, 'AUTH name name'), (1, 'READONLY'), (1, 'READWRITE'), (1, 'ASKING'),
            (1, 'CLUSTER KEYSLOT k'), (1, 'CLUSTER COUNTKEYSINSLOT n'), (1, 'CLUSTER GETKEYSINSLOT n n'),
            (1, 'CLUSTER ADDSLOTS n'), (1, 'CLUSTER DELSLOTS junkword'), (1, 'CLUSTER SETSLOT n junkword'),
            (1, 'CLUSTER junkword'), (1, 'CONFIG GET junkword'), (1, 'CONFIG SET junkword v'), (1, 'CONFIG junkword'),
            (1, 'INFO junkword'), (1, 'MEMORY USAGE nokey'), (1, 'MEMORY junkword'), (1, 'SLOWLOG junkword'),
            (1, 'DUMP nokey'), (2, 'RESTORE k ttl payload'), (2, 'RESTORE k ttl payload restoreopt'),
            (1, 'RESTORE k ttl payload restoreopt restoreopt'), (1, 'RESTORE-ASKING k ttl payload REPLACE'),
            (1, 'DEBUG SLEEP 0'), (1, 'TIME x'), (1, 'SHUTDOWN junkword'), (1, 'ACL WHOAMI'), (1, 'ACL CAT junkword'),
        )]
        self.weights = [weight for weight, _ in self.templates]

    def key(self):
        r = self.random
        if self.cluster:  # mostly in one slot, now and then across two
            tag = 't' if r.random() < 0.95 else 'u'
            return b'{%s}key:%d' % (tag.encode(), r.randrange(30))
        return b'key:%d' % r.randrange(30)

    def value(self):
        r = self.random
        kind = r.randrange(8)
        if kind < 3:
            return str(r.randrange(-50, 50)).encode()
        if kind == 3:
            return str(r.choice([2**63 - 1, -2**63, 2**63, 0, 10000, 3.5, -0.25, 1e18])).encode()
        if kind == 4:
            return r.choice([b'', b' 1', b'01', b'+1', b'-0', b'1e3', b'inf', b'0x10', b'a\r\nb', b'\x00\xff'])
        if kind == 5:
            return bytes(r.choice(b'abc') for _ in range(r.randrange(80)))
        return b'value:%d' % r.randrange(1000)

    def number(self):
        r = self.random
        return str(r.choice([0, 1, -1, 5, 100, 2**63 - 1, -2**63, 2**62, 'x', '', '1.5', ' 1', '2147483648',
                             r.randrange(-1000, 1000)])).encode()

    def odd_number(self):
        return str(self.random.choice([2**63 - 1, -2**63, 2**62, 'x', '', '1.5', ' 1', '+5'])).encode()

    def span(self):
        if not self.spans:
            self.spans = [102500 + 5000 * index for index in range(10000)]
            self.random.shuffle(self.spans)
        return b'%d' % self.spans.pop()

    def word(self, kind):
        r, now = self.random, int(time.time())
        if kind == 'k':
            return [self.key()]
        if kind == 'v':
            return [self.value()]
        # No time that may pass while the two servers are compared: they would see it pass at different commands. And
        # none twice: GT and LT would tell by a millisecond which of the two commands came later.
        if kind in ('secs', 'millis'):
            return [r.choice([self.span(), self.span(), b'-1', b'0', self.odd_number()])]
        if kind == 'at':
            return [r.choice([b'%d' % (now + 1000), b'1', b'%d' % (now - 1000), self.odd_number()])]
        if kind == 'atms':
            return [r.choice([b'%d' % (now * 1000 + 1000000), b'1', b'%d' % (now * 1000 - 10000), self.odd_number()])]
        # For SET, not in the past either: the key would be there until it is looked at, or not.
        if kind == 'later':
            return [r.choice([b'%d' % (now + 1000), b'0', b'-5', self.odd_number()])]
        if kind == 'laterms':
            return [r.choice([b'%d' % (now * 1000 + 1000000), b'0', b'-5', self.odd_number()])]
        if kind == 'setopt':
            return r.choice([['NX'], ['XX'], ['GET'], ['KEEPTTL'], ['EX', *self.word('secs')], ['PX', *self.word('millis')],
                             ['EXAT', *self.word('later')], ['pxat', *self.word('laterms')], ['get'], ['nx'], ['EX'], ['PERSIST']])
        if kind == 'getexopt':
            return r.choice([['PERSIST'], ['EX', *self.word('secs')], ['PX', *self.word('millis')],
                             ['EXAT', *self.word('at')], ['PXAT', *self.word('atms')], ['KEEPTTL'], ['PX']])
        if kind == 'ttl':
            return [r.choice([b'0', b'0', b'100000', b'-1', b'x', b'1.5', b'%d' % (now * 1000 + 1000000)])]
        if kind == 'payload':  # 5, "hello", twelve times 'a' compressed; then damaged ones
            return [r.choice([bytes.fromhex('00c0050a00632f5f66832fb351'), bytes.fromhex('000568656c6c6f0a006372df766534200a'),
                              bytes.fromhex('00c3050c0061e002000a0083ed21ee2cda53ce'), b'', b'junk',
                              bytes.fromhex('00c0060a00632f5f66832fb351'), bytes.fromhex('0a005d9b5c400f7fa2da')])]
        if kind == 'restoreopt':
            return r.choice([['REPLACE'], ['replace'], ['ABSTTL'], ['IDLETIME', '5'], ['IDLETIME', '-5'], ['FREQ', '5'],
                             ['FREQ', '256'], ['FREQ'], ['nosuch']])
        if kind == 'off':
            return [r.choice([b'0', b'3', b'20', b'100', self.number() if r.random() < 0.3 else b'7'])]
        if kind == 'idx':
            return [str(r.choice([0, 1, 3, -1, -2, -5, 100, -100, 'x'])).encode()]
        if kind == 'n':
            return [self.number()]
        if kind == 'f':
            return [r.choice([b'0.1', b'-5.25', b'1e3', b'3', b'1e-5', b'x', b'inf', b'nan', b'1e400', b' 1', b''])]
        if kind == 'lcsopt':
            return r.choice([['LEN'], ['IDX'], ['WITHMATCHLEN'], ['MINMATCHLEN', '2'], ['MINMATCHLEN', 'x'], ['x']])
        if kind == 'cond':
            return [r.choice(['NX', 'XX', 'GT', 'LT', 'nx', 'foo'])]
        if kind == 'db':
            return [str(r.choice([0, 0, 1, 2, 15, 16, -1, 'x', 99999999999])).encode()]
        if kind == 'pattern':
            return [r.choice([b'*', b'*key:1*', b'*[1-3]', b'key:?', b'{t}*', b'{t}key:1', b'*[^5]', b'nothing', b'\\*', b'['])]
        if kind == 'scanopt':
            return r.choice([['COUNT', '0'], ['COUNT', 'x'], ['COUNT'], ['TYPE', 'hash'], ['FOO', '1']])
        if kind == 'junk':
            return [r.choice([b'nosuch', b'foo bar', b'-1', b'x\ny', b''])]
        if kind == 'name':
            return [r.choice([b'alice', b'', b'a b', b'x\ny', b'\xc3\xa9'])]
        if kind == 'onoff':
            return [r.choice([b'on', b'OFF', b'maybe'])]
        if kind == 'hello':
            return [r.choice([b'4', b'1', b'x', b'2 x', b''])]
        if kind == 'junkword':
            return [r.choice([b'nosuch', b'foo bar', b'x\ny', b'18446744073709551616'])]
        if kind == 'any':  # a command with a random number of words
            name = r.choice(DATA_COMMANDS)
            return [name.encode(), *(r.choice([self.key, self.value])() for _ in range(r.randrange(4)))]
        return [kind]

    def command(self):
        words = []
        for kind in self.random.choices(self.templates, self.weights)[0][1]:
            words += self.word(kind)
        return [w if isinstance(w, bytes) else w.encode() for w in words]


def same(words, ours, theirs):
    if ours == theirs:
        return True
    name = words[0].upper() if words else b''
    if name == b'KEYS' or name == b'SCAN':
        if ours[:1] == b'*' and theirs[:1] == b'*':
            a, b = parse(ours), parse(theirs)
            if name == b'SCAN':
                # A call works on one shard: it may give fewer keys, and then says that there are more.
                return sorted(a[1]) == sorted(b[1]) or (a[0] != b'0' and set(a[1]) <= set(b[1]))
            return sorted(a) == sorted(b)
    if name == b'RANDOMKEY':
        return ours[:1] == theirs[:1] == b'$' and (ours == b'$-1\r\n') == (theirs == b'$-1\r\n')
    if name in NEAR and ours[:1] == theirs[:1] == b':':
        a, b = parse(ours), parse(theirs)
        return (a < 0) == (b < 0) and abs(a - b) <= NEAR[name]
    rule = BY_DESIGN.get(tuple(w.upper() for w in words[:2]))
    return rule is not None and rule(ours, theirs)


def scan_all(connection):
    keys, cursor = set(), b'0'
    while True:
        cursor, page = parse(connection.run('SCAN', cursor, 'COUNT', 1000))
        keys.update(page)
        if cursor == b'0':
            return keys


def compare_data(ours, theirs, databases):
    differences = []
    for db in range(databases):
        for connection in (ours, theirs):
            connection.run('SELECT', db)
        a, b = scan_all(ours), scan_all(theirs)
        if a != b:
            differences.append('database %d: keys %r here only, %r there only' % (db, a - b, b - a))
        for key in sorted(a & b):
            for words in ([b'GET', key], [b'PEXPIRETIME', key], [b'TYPE', key], [b'STRLEN', key]):
                x, y = ours.run(*words), theirs.run(*words)
                if not same(words, x, y):
                    differences.append('database %d: %r\n   skein %r\n   redis %r' % (db, words, x, y))
    return differences


def run(options):
    generator = Generator(options.seed, options.cluster)
    extra = ['--cluster-bootstrap', 'yes', '--storage-shards', str(options.shards)] if options.cluster and 'redis' not in options.binary else []
    differences, done = [], 0
    with Server(options.binary, options.cluster, extra) as ours, Server('redis-server', options.cluster) as theirs:
        if options.resp == 3:
            for connection in (ours, theirs):
                connection.run('HELLO', 3)
        while done < options.commands:
            batch = [generator.command() for _ in range(generator.random.randrange(1, 40))]
            for connection in (ours, theirs):
                connection.send(batch)
            for words in batch:
                a, b = ours.reply(), theirs.reply()
                if not same(words, a, b):
                    differences.append('%r\n   skein %r\n   redis %r' % (words, a[:300], b[:300]))
            done += len(batch)
            if len(differences) >= 20:
                break
        if len(differences) < 20:
            differences += compare_data(ours, theirs, 1 if options.cluster else 16)
    return done, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--binary', default=os.environ.get('SKEIN_NODE', os.path.join(ROOT, 'bazel-bin/node/skein-node')))
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 32))
    parser.add_argument('--commands', type=int, default=5000)
    parser.add_argument('--resp', type=int, choices=(2, 3), default=2)
    parser.add_argument('--cluster', action='store_true')
    parser.add_argument('--shards', type=int, default=4)
    options = parser.parse_args()
    try:
        done, differences = run(options)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    for d in differences:
        print(d)
    print('%d commands, seed %d: %d differences' % (done, options.seed, len(differences)))
    return 1 if differences else 0


if __name__ == '__main__':
    sys.exit(main())
