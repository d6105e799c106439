#!/usr/bin/env bash
# Tasks of the demo pair on its own labels, after scripts/demo.sh: success of the receiver's own answers
# (configs/demo_task.yaml; runs/demo/task_LABEL) and fine-tuned heads (configs/demo_fine_tune.yaml;
# runs/demo/task/compared).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target kvalign >&2
kvalign=build/release/tools/kvalign python=.deps/venv/bin/python data=data/demo

"$python" scripts/incident_log.py --documents 600 --seed 5 --output $data/answers.txt --task $data/answers.jsonl
for label in alarm severity code; do
  task=$data/task_$label
  rm -rf runs/demo/task_$label   # a run goes on from what it finds
  "$python" scripts/task_file.py --tokenizer demo/receiver --input $data/answers.jsonl --text-field before_$label \
    --label-field $label --question "\n$label" --held-out 200 --max-tokens 450 --output $task.safetensors
  "$python" scripts/task_baselines.py --task $task.safetensors --input $data/answers.jsonl --output $task.json
  "$kvalign" eval --config configs/demo_task.yaml --output runs/demo/task_$label \
    --set task.file=$task.safetensors --set task.text_classifiers=$task.json
done

recipe=configs/demo_fine_tune.yaml runs=runs/demo/task
rm -rf $data/task_pairs $runs
"$python" scripts/incident_log.py --documents 1000 --seed 5 --output $data/task.txt --labels $data/task_labels.jsonl
"$python" scripts/tokenise.py --tokenizer demo/receiver --input $data/task.txt --sequences 1000 --tokens 300 \
  --labels $data/task_labels.jsonl --label-field severity --output $data/task.safetensors
"$kvalign" capture --config $recipe >&2
"$kvalign" distill-train --config $recipe --set run_folder=$runs/v1 >&2
v1=$runs/v1/checkpoint.safetensors
"$kvalign" fine-tune --config $recipe --checkpoint $v1 >&2
"$kvalign" fine-tune --config $recipe --checkpoint $v1 --set fine_tune.train=both --set run_folder=$runs/both >&2
"$kvalign" eval --config $recipe --output $runs/compared --checkpoint V1=$v1 \
  --checkpoint V1-head=$runs/head/checkpoint.safetensors --checkpoint V1-both=$runs/both/checkpoint.safetensors
