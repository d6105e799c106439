#!/usr/bin/env bash
# The numbers of the note that this project began with (scripts/seed_tables.py), measured anew: writes the
# reports that README's table reads into results/, and the table into README.md.
#
#   scripts/seed_tables.sh          generated caches, times of V1 and V2, the demo pair: half an hour
#   scripts/seed_tables.sh qwen     also the Qwen pair: hours, and needs what README's section on it makes
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  ""|qwen) ;;
  *) echo "seed_tables: expected no argument or qwen, got '$1'" >&2; exit 2 ;;
esac

scripts/seed_flat.sh >&2
cp runs/seed_512_to_4096/report.json results/seed_512_to_4096.json
scripts/demo.sh >&2
cp runs/demo/ladder/report.json results/demo.json
scripts/demo_tasks.sh >&2
for label in alarm severity code; do
  cp "runs/demo/task_$label/report.json" "results/demo_task_$label.json"
done
cp runs/demo/task/compared/report.json results/demo_fine_tune.json

cmake --preset release -DKVALIGN_BUILD_BENCHMARKS=ON >/dev/null
cmake --build --preset release --target kvalign train_step >&2
receiver=models/qwen2.5-coder-1.5b-q4_k_m
build/release/tools/kvalign bench --threads 2 $([ -d $receiver ] && echo --receiver $receiver) \
  --output results/benchmarks/cpu.jsonl >&2
echo 8 100 31 | build/release/tests/benchmarks/train_step 2 | python3 -c 'import json
print(json.dumps({"threads": 2, "sequences": 8, "tokens": 100, "milliseconds": json.loads(input())}))' \
  > results/benchmarks/train_step.json

climb() {  # climb NAME RECIPE [FLAG..]: a ladder whose gate may not be met
  local status=0
  build/release/tools/kvalign eval --config "$2" --output "runs/qwen/$1" "${@:3}" >&2 || status=$?
  [ $status -eq 0 ] || [ $status -eq 3 ] || exit $status
  cp "runs/qwen/$1/report.json" "results/$1.json"
}
if [ "${1:-}" = qwen ]; then
  climb ladder_wikitext configs/qwen/ladder_wikitext.yaml
  climb trained_wikitext configs/qwen/trained_wikitext.yaml
  climb certificates configs/qwen/certificates.yaml
  climb bidirectional configs/qwen/bidirectional.yaml
  climb task_sms configs/qwen/task_sms.yaml --set task.texts=60
  climb task_sst5 configs/qwen/task_sst5.yaml --set task.texts=40
  climb task_banking configs/qwen/task_banking.yaml --set task.texts=20
fi
python3 scripts/results_table.py
sed -n '/<!-- seed:tables -->/,/<!-- \/seed -->/p' README.md
