#!/usr/bin/env bash
# Builds the project and runs its tests. Arguments go to ctest: scripts/test.sh -L unit
# KVALIGN_SANITIZED=1 also runs the unit tests under the address and undefined-behaviour sanitisers.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release
ctest --preset release "$@"

if [ "${KVALIGN_SANITIZED:-0}" = 1 ]; then
  cmake --preset dev >/dev/null
  cmake --build --preset dev
  ctest --preset dev
fi
