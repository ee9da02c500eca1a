#!/bin/bash
# FORMAT.md is enough to write a reader in another language: format_reader.py finds what format_sample wrote.
set -eu
dir=$(mktemp -d "${TEST_TMPDIR:-/tmp}/formatXXXXXX")
trap 'rm -rf "$dir"' EXIT
storage/format_sample "$dir" 2>/dev/null | sort -s -n -k2,2 -k4,4 > "$dir/want"
/usr/bin/python3 storage/format_reader.py "$dir/appendonlydir" > "$dir/found"
test "$(wc -l < "$dir/want")" = 120
diff "$dir/want" "$dir/found"
