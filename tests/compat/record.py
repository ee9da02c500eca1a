#!/usr/bin/python3
"""Writes the replies of a redis-server into scripts of commands: record.py SCRIPT...

A script is a text of
    # a comment
    > SET key "va\\x00lue"      a command, quoted as redis-cli takes it
    +OK\\r\\n                   its raw reply, escaped: this is what the recorder writes
    ! resp 3                    the protocol from here on
    ! advance 20                lets 20 ms pass
    ! cluster                   in the first line: for a cluster node that owns all slots, else a stand-alone server
The unit tests of node/commands run the same scripts and compare. Needs redis-server 7.0 on the path.
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import Server  # noqa: E402


def split_words(line):
    """The words of a line: bare, 'single quoted' or "double quoted" with \\xHH, \\n, \\r, \\t and escaped characters."""
    words, i = [], 0
    while i < len(line):
        if line[i] == ' ':
            i += 1
            continue
        word = b''
        if line[i] == '"':
            i += 1
            while line[i] != '"':
                if line[i] == '\\' and line[i + 1] == 'x':
                    word += bytes([int(line[i + 2:i + 4], 16)])
                    i += 4
                elif line[i] == '\\':
                    word += {'n': b'\n', 'r': b'\r', 't': b'\t'}.get(line[i + 1], line[i + 1].encode())
                    i += 2
                else:
                    word += line[i].encode()
                    i += 1
            i += 1
        else:
            end = line.find(' ', i)
            end = len(line) if end < 0 else end
            word = line[i:end].encode()
            i = end
        words.append(word)
    return words


def escape(raw):
    out = ''
    for b in raw:
        c = chr(b)
        if c == '\r':
            out += '\\r'
        elif c == '\n':
            out += '\\n'
        elif c == '\\':
            out += '\\\\'
        elif 32 <= b < 127:
            out += c
        else:
            out += '\\x%02x' % b
    return out


def record(path):
    lines = open(path, encoding='ascii').read().split('\n')
    out, skip = [], False
    with Server('redis-server', cluster=lines[0] == '! cluster') as connection:
        for line in lines:
            if not line or line[0] in '#>!':
                skip = False
            if skip:
                continue
            out.append(line)
            if line.startswith('> '):
                out.append(escape(connection.run(*split_words(line[2:]))))
                skip = True
            elif line.startswith('! resp'):
                connection.run('HELLO', line.split()[2])
            elif line.startswith('! advance'):
                time.sleep(int(line.split()[2]) / 1000)
    text = '\n'.join(out)
    text = re.sub(r'\n+$', '\n', text)
    with open(path, 'w', encoding='ascii') as f:
        f.write(text)


if __name__ == '__main__':
    for name in sys.argv[1:]:
        record(name)
