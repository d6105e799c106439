#!/usr/bin/env bash
# From a small model's cache to a larger model's continuation, with two language models that this
# project trained (demo/): captures both on incident logs, fits three projectors, and lets the
# receiver continue from every kind of cache on logs that no fit saw: the ladder.
#
#   scripts/demo.sh                     sender to receiver, one tokeniser
#   scripts/demo.sh cross_tokeniser     other to receiver, two tokenisers
#
# Exits with 0 where the ladder was climbed, whether or not its gate is met; the last lines say so.
set -euo pipefail
cd "$(dirname "$0")/.."

recipe=configs/demo.yaml prefix="" tokenisers=(--tokenizer demo/receiver)
case "${1:-}" in
  "") ;;
  cross_tokeniser)
    recipe=configs/demo_cross_tokeniser.yaml prefix=cross_tokeniser_
    tokenisers=(--sender demo/other --receiver demo/receiver)
    ;;
  *) echo "demo: expected no argument or cross_tokeniser, got '$1'" >&2; exit 2 ;;
esac

scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target kvalign >&2
kvalign=build/release/tools/kvalign python=.deps/venv/bin/python
data=data/demo runs="runs/demo${prefix:+/cross_tokeniser}"

start=$SECONDS
rm -rf "$data/${prefix}pairs" "$runs/v1" "$runs/v2" "$runs/ridge" "$runs/ladder"
mkdir -p "$data"

# Logs to fit with, and others to be judged by; the models have seen neither.
make_tokens() {  # make_tokens NAME SEED DOCUMENTS TOKENS
  "$python" scripts/incident_log.py --documents "$3" --seed "$2" --output "$data/$1.txt"
  "$python" scripts/tokenise.py "${tokenisers[@]}" --input "$data/$1.txt" --sequences "$3" \
    --tokens "$4" --output "$data/$prefix$1.safetensors"
}
make_tokens fit 3 1000 256
# More than the 128 + 32 tokens that are read, so that the last of them is no cut-off word.
make_tokens held_out 4 60 192

"$kvalign" capture --config "$recipe" >&2
train() {  # train NAME KIND FIT
  "$kvalign" distill-train --config "$recipe" --set run_folder="$runs/$1" \
    --set projector.kind="$2" --set fit.kind="$3" >&2
}
train v1 linear_residual adamw &  # each keeps one core busy
train v2 mlp adamw
wait $!
train ridge linear_residual ridge   # V1's map in closed form

gate_not_met=3
status=0
"$kvalign" eval --config "$recipe" --output "$runs/ladder" \
  --checkpoint "V2=$runs/v2/checkpoint.safetensors" \
  --checkpoint "V1=$runs/v1/checkpoint.safetensors" \
  --checkpoint "ridge=$runs/ridge/checkpoint.safetensors" || status=$?
if [ $status -ne 0 ] && [ $status -ne $gate_not_met ]; then exit $status; fi

# The whole way of one text: the device's library makes a packet, the receiver continues from it.
"$kvalign" encode "$data/${prefix}pairs" "$runs/prefix.kvp" --sequence 0 --sinks 4 --reread 1 >&2
"$kvalign" continue --config "$recipe" --packet "$runs/prefix.kvp" --tokens 24 \
  --checkpoint "$runs/v2/checkpoint.safetensors"
"$kvalign" reference --config "$recipe" "$runs/v2/checkpoint.safetensors" "$runs/v2/reference" >&2
cat >&2 <<EOF
demo: $((SECONDS - start)) s after set-up. Report: $runs/ladder/report.html
demo: nll is what the receiver (or the sender alone) pays, in nats a token, for the next 32 tokens of
demo: a log of which it was given 128 tokens as the row says; text is re-reading them. The gate is
demo: $([ $status -eq 0 ] && echo met || echo NOT met), as the sentence above explains.
EOF
