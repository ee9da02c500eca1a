#!/usr/bin/python3
"""Compares the command table of skein-node with redis-server's: COMMAND INFO and COMMAND DOCS of every command of ours,
and what each answers to a wrong number of words and to a subcommand that there is not.

    command_table.py [--binary bazel-bin/node/skein-node] [--all]

Prints the differences that EXPLAINED does not explain; exit code 1 if there are any. --all prints the explained ones too.
"""
import argparse
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from raw_resp import parse  # noqa: E402
from servers import Server  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# (command, path below it, '' for all of it) -> why it differs.
EXPLAINED = {
    ('client|setinfo', ''): 'since 7.2, not in redis-server 7.0',
    ('client|no-touch', ''): 'since 7.2, not in redis-server 7.0',
    ('cluster|myshardid', ''): 'since 7.2, not in redis-server 7.0',
    ('cluster|slot-stats', ''): 'since Valkey 8.0',
    ('cluster|events', ''): 'ours',
    ('logsync', ''): 'ours',
    ('replicaof', 'info/flags'): 'a full synchronization that its primary cannot end must not keep a node from another',
    ('slaveof', 'info/flags'): 'as replicaof',
    ('waitaof', ''): 'since 7.2, not in redis-server 7.0',
}
# The same for whole families: (command, path), both as regular expressions.
RULES = (
    (r'(acl|asking|auth|bgrewriteaof|bgsave|client|cluster|config|debug|echo|hello|info|lastsave|lolwut|memory|ping|quit|readonly|readwrite|replicaof|reset|role|slaveof'
     r'|save|select|shutdown|slowlog|time|p?subscribe|p?unsubscribe|ssubscribe|sunsubscribe|s?publish|pubsub)(\|.*)?', r'docs/(summary|complexity|since|history|arguments/.*)',
     'worded as in 7.2'),
    (r'cluster\|(slots|shards)', r'info/flags', 'loading is a flag of it since 7.2'),
    (r'config\|(resetstat|rewrite|set)', r'info/tips', 'has policies since 7.2'),
    (r'debug|restore-asking', r'docs/doc_flags', 'rows do not keep the flag syscmd'),
)
INFO_FIELDS = ('name', 'arity', 'flags', 'first key', 'last key', 'step', 'categories', 'tips', 'key specs',
               'subcommands')


def reason(name, path):
    why = EXPLAINED.get((name, '')) or EXPLAINED.get((name, path))
    if why is None:
        why = next((w for n, p, w in RULES if re.fullmatch(n, name) and re.fullmatch(p, path)), None)
    return why


def text(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, tuple) and len(value) == 2 and value[0] in '+-':
        return value[1].decode()
    return value


def plain(value):
    """Parsed replies with text for bytes; lists of words (sets) in order."""
    value = text(value)
    if isinstance(value, dict):
        return {text(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        items = [plain(v) for v in value]
        return sorted(items) if items and all(isinstance(v, str) for v in items) else items
    return value


def differences(path, ours, theirs):
    """(path, ours, theirs) of every leaf that differs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for k in sorted(ours.keys() | theirs.keys()):
            yield from differences(path + [k], ours.get(k), theirs.get(k))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (a, b) in enumerate(zip(ours, theirs)):
            yield from differences(path + [str(i)], a, b)
    elif ours != theirs:
        yield '/'.join(path), ours, theirs


def flatten_info(rows, out):
    for row in rows:
        row = plain(row)
        out[row[0]] = dict(zip(INFO_FIELDS[1:9], row[1:9]))
        out[row[0]]['subcommands'] = sorted(sub[0] for sub in row[9])
        flatten_info(row[9], out)


def flatten_docs(docs, out):
    for name, doc in docs.items():
        subcommands = doc.pop('subcommands', {})
        doc['subcommands'] = sorted(subcommands)
        out[name] = doc
        flatten_docs(subcommands, out)


def table(connection):
    connection.run('HELLO', 3)
    info, docs = {}, {}
    flatten_info(parse(connection.run('COMMAND', 'INFO')), info)
    flatten_docs(plain(parse(connection.run('COMMAND', 'DOCS'))), docs)
    return {name: {'info': info[name], 'docs': docs[name]} for name in info}


def wrong_forms(name, arity):
    """Commands that are refused before they run."""
    words = name.split('|')
    counts = [arity - 1, arity + 1] if arity > 0 else [-arity - 1]
    for count in counts:
        if count >= len(words):
            yield words + ['x'] * (count - len(words))


def refusals(connection, commands):
    return {' '.join(words): connection.run(*words) for words in commands}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--binary', default=os.environ.get('SKEIN_NODE', os.path.join(ROOT, 'bazel-bin/node/skein-node')))
    parser.add_argument('--all', action='store_true')
    options = parser.parse_args()
    with Server(options.binary, False) as ours, Server('redis-server', False) as theirs:
        a, b = table(ours), table(theirs)
        wrong = [words for name in sorted(a) if name in b for words in wrong_forms(name, a[name]['info']['arity'])]
        wrong += [[name, 'nosuch', 'x'] for name in sorted(a) if a[name]['info']['subcommands']]
        refused = [refusals(connection, wrong) for connection in (ours, theirs)]
    unexplained = 0
    for words, reply, expected in differences([], *refused):
        unexplained += 1
        print('%s\n   skein %r\n   redis %r' % (words, reply, expected))
    for name in sorted(a):
        # A container has no fewer subcommands here than we say; that Redis has more is known from the commands missing.
        if name in b:
            for kind in ('info', 'docs'):
                have = a[name][kind]['subcommands']
                b[name][kind]['subcommands'] = [s for s in b[name][kind]['subcommands'] if s in have]
                a[name][kind]['subcommands'] = [s for s in have if (s, '') not in EXPLAINED]
        for path, x, y in differences([], a[name], b.get(name)):
            why = reason(name, path)
            unexplained += why is None
            if why is None or options.all:
                print('%s %s%s\n   skein %r\n   redis %r' % (name, path, ' (%s)' % why if why else '', x, y))
    print('%d commands here, %d of %d in redis-server; %d wrong forms: %d unexplained differences'
          % (len(a), sum(name in a for name in b), len(b), len(wrong), unexplained))
    return 1 if unexplained else 0


if __name__ == '__main__':
    sys.exit(main())
