#!/usr/bin/env bash
# Checks what the compiler does not: format, include directions, sizes, and that README tells the truth
# about the command line and the results. Needs scripts/setup.sh and a build (scripts/test.sh).
set -uo pipefail
cd "$(dirname "$0")/.."

failed=0
check() {  # check NAME COMMAND...
  local name=$1; shift
  if output=$("$@" 2>&1); then
    echo "ok      $name"
  else
    echo "FAILED  $name"
    sed 's/^/        /' <<<"$output"
    failed=1
  fi
}

sources() { git ls-files '*.h' '*.cpp' '*.cu' '*.cuh'; }
check_format() { sources | xargs clang-format --dry-run -Werror; }
# Headers up to 150 lines, sources up to 400 lines, functions up to 60.
check_file_sizes() {
  sources | xargs wc -l | awk '$2 ~ /\.h$/ && $1 > 150 { print $2 ": " $1 " lines, at most 150"; bad = 1 }
    $2 ~ /\.(cpp|cu|cuh)$/ && $1 > 400 { print $2 ": " $1 " lines, at most 400"; bad = 1 }
    END { exit bad }'
}
check_function_sizes() {
  git ls-files 'include/*' 'src/*' 'tools/*' | grep -E '\.(h|cpp|cu)$' |
    xargs .deps/venv/bin/lizard --length 60 --CCN 1000 --arguments 1000 --warnings_only
}
check_foreign_names() {
  ! git grep -nIE 'TODO|FIXME|\<XXX\>|/hom[e]/|/tmp/[a-z]+-[a-z]+/' -- include src tools cmake
}

check "format (clang-format)" check_format
check "include directions" scripts/check_includes.py
check "file sizes" check_file_sizes
check "function sizes" check_function_sizes
check "nothing left open" check_foreign_names
check "README: help text" python3 scripts/check_readme_help.py build/release/tools/kvalign
check "README: result tables" python3 scripts/results_table.py --check
exit $failed
