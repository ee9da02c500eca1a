#!/bin/bash
# FORMAT.md is enough to write a reader in another language: format_reader.py finds what format_sample wrote.
set -eu
dir=$(mktemp -d "${TEST_TMPDIR:-/tmp}/formatXXXXXX")
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/log" "$dir/state"
storage/format_sample log "$dir/log" 2>/dev/null | sort -s -n -k2,2 -k4,4 > "$dir/want"
/usr/bin/python3 storage/format_reader.py "$dir/log/appendonlydir" > "$dir/found"
test "$(wc -l < "$dir/want")" = 120
diff "$dir/want" "$dir/found"

storage/format_sample state "$dir/state" 2>/dev/null > "$dir/want"
/usr/bin/python3 storage/format_reader.py "$dir/state/appendonlydir" state > "$dir/found"
bases=("$dir"/state/appendonlydir/shard-*/base.*.rdb)
test "${#bases[@]}" = 3
test "$(wc -l < "$dir/want")" -gt 30
diff "$dir/want" "$dir/found"
