#!/usr/bin/env bash
# Builds a TensorRT engine of a model that `kvalign export --format onnx` wrote, on a machine that has TensorRT:
# an engine runs only on the kind of GPU, and with the version of TensorRT, that it was built on.
#
# Usage: scripts/tensorrt_build.sh MODEL.onnx ENGINE [TRTEXEC_FLAG...]
#   scripts/tensorrt_build.sh ridge.onnx ridge.engine --bf16 --builderOptimizationLevel=5 --memPoolSize=workspace:4096M
#
# TOKENS="MIN OPT MAX" are the numbers of tokens that the engine takes, and the one it is made for ("1 256 4096").
# Without a flag of precision the types are the model's own (--stronglyTyped). What was measured of kernels is kept in
# ENGINE.timing, which makes the next build short. Flags: https://docs.nvidia.com/deeplearning/tensorrt/ (trtexec).
set -euo pipefail

fail() { echo "tensorrt_build: $1" >&2; exit 2; }
[ $# -ge 2 ] || fail "expected MODEL.onnx ENGINE [TRTEXEC_FLAG...], got $# arguments"
model=$1 engine=$2; shift 2
[ -f "$model" ] || fail "there is no model $model. Make it with kvalign export --format onnx"
[ -d "$(dirname "$engine")" ] || fail "there is no folder for $engine"
command -v trtexec >/dev/null ||
  fail "trtexec is not on PATH. It comes with TensorRT, often in /usr/src/tensorrt/bin; run this where the engine will"
read -r min opt max extra <<<"${TOKENS:-1 256 4096}"
[[ "$min $opt $max" =~ ^[0-9]+\ [0-9]+\ [0-9]+$ && -z "$extra" ]] && ((1 <= min && min <= opt && opt <= max)) ||
  fail "expected TOKENS to be three rising numbers from 1, got '${TOKENS:-}'"
python=$(dirname "$0")/../.deps/venv/bin/python
[ -x "$python" ] || python=python3

# Every input with @ tokens, as trtexec writes them: codes:@x48x128,scales:@x48
shapes=$("$python" - "$model" <<'EOF'
import sys
import onnx

model = onnx.load(sys.argv[1], load_external_data=False)
print(",".join(value.name + ":" + "x".join("@" if length.dim_param else str(length.dim_value)
                                           for length in value.type.tensor_type.shape.dim)
               for value in model.graph.input))
EOF
) || fail "$python could not read the shapes of $model. It needs the package onnx: pip install onnx"

types=--stronglyTyped
for flag in "$@"; do
  case $flag in --fp16 | --bf16 | --fp8 | --int8 | --best | --stronglyTyped) types= ;; esac
done
trap 'rm -f "$engine.unfinished"' EXIT
trtexec --onnx="$model" --saveEngine="$engine.unfinished" --skipInference \
  --minShapes="${shapes//@/$min}" --optShapes="${shapes//@/$opt}" --maxShapes="${shapes//@/$max}" \
  --timingCacheFile="$engine.timing" ${types:+"$types"} "$@"
mv "$engine.unfinished" "$engine"
