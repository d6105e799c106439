#!/usr/bin/env bash
# What a machine with an NVIDIA GPU can tell: runs the tests that need one and the benchmark, and measures
# milliseconds and joules of projection beside the receiver's prefill (pair.yaml). Arguments go to every
# kvalign command: run.sh --set device=cpu. Needs scripts/setup_capture.sh for Python torch.
set -euo pipefail
cd "$(dirname "$0")/../../.."

scripts/setup.sh
cmake --preset release -DKVALIGN_BUILD_BENCHMARKS=ON >/dev/null
cmake --build --preset release
ctest --preset release -L gpu
kvalign=build/release/tools/kvalign python=.deps/venv/bin/python recipe=tests/benchmarks/gpu/pair.yaml
"$kvalign" bench --output results/benchmarks/cuda.jsonl "$@"
rm -rf data/gpu runs/gpu
mkdir -p data/gpu
.deps/capture/bin/python tests/benchmarks/gpu/random_pair.py demo/receiver data/gpu

make_tokens() {  # make_tokens NAME SEED SEQUENCES TOKENS: logs in a row, cut where a sequence is full
  "$python" scripts/incident_log.py --documents 600 --seed "$2" --output data/gpu/logs.txt
  mkdir "data/gpu/$1"
  sed 's/^<|endoftext|>$//' data/gpu/logs.txt | split --lines=1500 - "data/gpu/$1/"
  "$python" scripts/tokenise.py --tokenizer demo/receiver --input "data/gpu/$1" --sequences "$3" --tokens "$4" \
    --output "data/gpu/$1.safetensors"
}
make_tokens fit 9 16 1024
make_tokens held_out 77 3 576
"$kvalign" capture --config $recipe "$@"
"$kvalign" distill-train --config $recipe "$@"
"$kvalign" distill-train --config $recipe --set projector.kind=low_rank --set run_folder=runs/gpu/low_rank "$@"
# Random weights need no context: what the gate says of quality means nothing.
"$kvalign" eval --config $recipe --output runs/gpu/ladder --checkpoint ridge=runs/gpu/ridge/checkpoint.safetensors \
  --checkpoint rank_512=runs/gpu/low_rank/checkpoint.safetensors "$@" || [ $? -eq 3 ]
sed -n '/^## Milliseconds/,/^## Estimated/p' runs/gpu/ladder/report.md
