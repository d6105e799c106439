#!/usr/bin/env bash
# The library fits a small device: it needs libc and libm alone, offers the C interface alone, and is
# smaller than 200 KB when stripped. Prints its size.
# Usage: check_library.sh LIBRARY [PREFIX of binutils, such as aarch64-linux-gnu-]
set -euo pipefail
library=$1 prefix=${2:-}
fail() { echo "FAILED: $1" >&2; exit 1; }
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT

needed=$("${prefix}readelf" -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
foreign=$(grep -vE '^(libc\.so\.6|libm\.so\.6|ld-linux-aarch64\.so\.1)$' <<<"$needed" || true)
[ -z "$foreign" ] || fail "$library needs $foreign"

offered=$("${prefix}nm" -D --defined-only "$library" | awk '{ print $3 }')
grep -q '^kvalign_edge_chunk$' <<<"$offered" || fail "$library does not offer kvalign_edge_chunk"
foreign=$(grep -v '^kvalign_edge_' <<<"$offered" || true)
[ -z "$foreign" ] || fail "$library also offers $foreign"

allocates=$("${prefix}nm" -D --undefined-only "$library" |
  grep -wE 'malloc|calloc|realloc|free|_Zn[wa]m|_Zd[la]Pv|__cxa_throw' || true)
[ -z "$allocates" ] || fail "$library allocates or throws: $allocates"

"${prefix}strip" -o "$stripped" "$library"
bytes=$(stat -c %s "$stripped")
echo "$library: $bytes bytes stripped, needs" $needed
[ "$bytes" -lt 200000 ] || fail "$library has $bytes bytes, expected fewer than 200000"
