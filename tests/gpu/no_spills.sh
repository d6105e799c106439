#!/bin/sh
# no_spills.sh NVCC SOURCE_DIR ARCHITECTURE...: every kernel keeps its numbers in registers.
set -eu
nvcc=$1 source=$2
shift 2
for architecture; do set -- "$@" -gencode "arch=compute_$architecture,code=sm_$architecture"; shift; done
object=$(mktemp)
trap 'rm -f "$object"' EXIT
report=$("$nvcc" -std=c++17 -O3 -Xptxas -v -I"$source/include" "$@" -c "$source/src/ops/fp8_codec.cu" -o "$object" 2>&1)
kernels=$(echo "$report" | grep -c 'spill stores')
spilling=$(echo "$report" | grep 'spill stores' | grep -vc ' 0 bytes spill stores, 0 bytes spill loads' || true)
echo "$kernels kernels, $spilling with spills"
[ "$kernels" -gt 0 ] && [ "$spilling" -eq 0 ]
