#!/usr/bin/env bash
# Builds the library with a preset, runs it (a device's under qemu-user) and compares its packets with
# golden ones: all machines make the same.
# Usage: cross_test.sh SOURCE_FOLDER BUILD_FOLDER jetson-nano|jetson-orin|avx2
# Exit code 77, which ctest counts as skipped, where compiler, qemu or instructions are missing.
set -euo pipefail
source=$1 build=$2 device=$3
skip() { echo "skipped: $1"; exit 77; }

cd "$source"
if [ "$device" = avx2 ]; then
  # With fused multiplications at hand, which the compiler must not use.
  grep -qw fma /proc/cpuinfo && grep -qw avx2 /proc/cpuinfo || skip "no AVX2 and FMA here"
  prefix="" emulator=()
  preset=(--preset edge "-DCMAKE_CXX_FLAGS=-mavx2 -mfma" -DKVALIGN_BUILD_TESTS=OFF)
else
  prefix=aarch64-linux-gnu- emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
  for tool in "${prefix}g++" qemu-aarch64; do
    command -v "$tool" >/dev/null || skip "no $tool; scripts/setup.sh installs it"
  done
  preset=(--preset "$device")
fi

cmake "${preset[@]}" -B "$build" >/dev/null
cmake --build "$build" --target kvalign_encode -j 1 >/dev/null
tests/edge/check_library.sh "$build/libkvalign_edge.so" "$prefix"
"${prefix}gcc" -std=c99 -Wall -Wextra -pedantic -Werror -I include tests/edge/cross/edge_packets.c \
  -L "$build" -lkvalign_edge -Wl,-rpath,"$build" -o "$build/edge_packets"
"${emulator[@]}" "$build/edge_packets" tests/golden/encoder_v1.bin >"$build/edge_packets.txt"
diff tests/golden/edge_packets_v1.txt "$build/edge_packets.txt" ||
  { echo "FAILED: packets of $device differ" >&2; exit 1; }
"${emulator[@]}" "$build/tools/kvalign-encode" --help >/dev/null
echo "$device: $(wc -l <"$build/edge_packets.txt") packets are the golden ones"
