#!/usr/bin/env bash
# A consumer project builds and runs against the installed package and against add_subdirectory, and
# the package refuses a LibTorch of another minor version.
# Usage: install_test.sh SOURCE_FOLDER BUILD_FOLDER LIBTORCH_FOLDER
set -euo pipefail
source=$(realpath "$1") build=$(realpath "$2") libtorch=$(realpath "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
expected="6 layers, keys of layer 5: 2 x 5 x 16"

consume() {  # consume NAME CMAKE_ARGUMENT...
  local name=$1; shift
  cmake -G Ninja -S "$source/tests/install/consumer" -B "$work/$name" \
    -DCMAKE_BUILD_TYPE=Release "$@" >"$work/$name.log" 2>&1 &&
    cmake --build "$work/$name" --target consumer >>"$work/$name.log" 2>&1 &&
    [ "$("$work/$name/consumer")" = "$expected" ]
}
fail() { cat "$work/$1.log" >&2; echo "FAILED: $2" >&2; exit 1; }

cmake --install "$build" --prefix "$work/prefix" >/dev/null
"$work/prefix/bin/kvalign" --version >"$work/tool.log" 2>&1 || fail tool "the installed command"
consume installed "-DCMAKE_PREFIX_PATH=$work/prefix;$libtorch" ||
  fail installed "a consumer of the installed package"
consume subfolder "-DKVALIGN_SOURCE=$source" ||
  fail subfolder "a consumer by add_subdirectory"

# A LibTorch that says it is 2.10: the libraries are the same, only the version differs.
other="$work/other"
mkdir -p "$other/include/torch/headeronly" "$other/lib"
ln -s "$libtorch"/lib/libtorch_cpu.so "$libtorch"/lib/libc10.so "$other/lib/"
ln -s "$libtorch/include/ATen" "$other/include/ATen"
sed 's/MINOR [0-9]*/MINOR 10/' "$libtorch/include/torch/headeronly/version.h" \
  >"$other/include/torch/headeronly/version.h"
if consume refused "-DCMAKE_PREFIX_PATH=$work/prefix;$other"; then
  echo "FAILED: the package accepted LibTorch 2.10" >&2
  exit 1
fi
grep -q "but found LibTorch" "$work/refused.log" ||
  fail refused "the refusal of LibTorch 2.10 does not say why"
echo "installed, subfolder and refused: as expected"
