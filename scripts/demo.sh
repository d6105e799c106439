#!/usr/bin/env bash
# The main job on generated caches, from nothing to a table: makes a paired dataset of width 512 and
# 4096, trains two projectors, and measures them beside the baselines on sequences that no fit saw.
# Arguments go to `kvalign eval`: scripts/demo.sh --json
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target kvalign >&2
kvalign=build/release/tools/kvalign
recipe=configs/seed_512_to_4096.yaml

rm -rf data/seed_512_to_4096 runs/seed_linear_residual runs/seed_mlp
"$kvalign" dataset generate --config "$recipe" >&2
"$kvalign" distill-train --config "$recipe" >&2
"$kvalign" distill-train --config "$recipe" \
  --set projector.kind=mlp --set run_folder=runs/seed_mlp >&2
"$kvalign" eval --config "$recipe" --output runs/seed_512_to_4096 \
  --checkpoint V1=runs/seed_linear_residual/checkpoint.safetensors \
  --checkpoint V2=runs/seed_mlp/checkpoint.safetensors "$@"
