#!/usr/bin/env bash
# The flat setting on generated caches, from nothing to a table: makes a paired dataset of width 512
# and 4096, trains four projectors, and measures them beside the baselines on sequences that no fit
# saw. Arguments go to `kvalign eval`: scripts/seed_flat.sh --json
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target kvalign >&2
kvalign=build/release/tools/kvalign
recipe=configs/seed_512_to_4096.yaml

runs=runs/seed_512_to_4096

rm -rf data/seed_512_to_4096 "$runs"
"$kvalign" dataset generate --config "$recipe" >&2
train() {  # train NAME KIND NORM
  "$kvalign" distill-train --config "$recipe" --set run_folder="$runs/$1" \
    --set projector.kind="$2" --set projector.norm="$3" >&2
}
train v1_layer linear_residual layer
train v1_none linear_residual none
train v2_layer mlp layer
train v2_none mlp none
"$kvalign" eval --config "$recipe" --output "$runs" \
  --checkpoint "V1, LayerNorm=$runs/v1_layer/checkpoint.safetensors" \
  --checkpoint "V1, no norm=$runs/v1_none/checkpoint.safetensors" \
  --checkpoint "V2, LayerNorm=$runs/v2_layer/checkpoint.safetensors" \
  --checkpoint "V2, no norm=$runs/v2_none/checkpoint.safetensors" "$@"
