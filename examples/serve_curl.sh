#!/usr/bin/env bash
# Asks a running server, with curl and nothing else: is it ready, what does a model read, the
# receiver's cache of a packet, and the text that the receiver writes after it. With the demo's
# models (scripts/demo.sh):
#
#   kvalign serve --config configs/serve_demo.yaml &
#   examples/serve_curl.sh http://127.0.0.1:8000 demo runs/demo/prefix.kvp
set -euo pipefail
url=$1 model=$2 packet=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ask() { curl --silent --show-error --fail-with-body "$@"; }

ask "$url/v2/health/ready" && echo
ask "$url/v2/models/$model" && echo

# The cache: the packet follows the JSON that says how long it is, and so do the answer's tensors.
size=$(wc -c <"$packet")
request='{"inputs": [{"name": "packet", "datatype": "UINT8", "shape": ['$size'],
  "parameters": {"binary_data_size": '$size'}}], "parameters": {"binary_data_output": true}}'
{ printf %s "$request"; cat "$packet"; } |
  ask "$url/v2/models/$model/infer" --data-binary @- -H "Content-Type: application/octet-stream" \
    -H "Inference-Header-Content-Length: ${#request}" -D "$work/headers" -o "$work/answer"
json_bytes=$(tr -d '\r' <"$work/headers" | awk 'tolower($1) == "inference-header-content-length:" { print $2 }')
head -c "$json_bytes" "$work/answer" && echo
echo "$(($(wc -c <"$work/answer") - json_bytes)) bytes of tensors follow"

# The text: all at once, then piece by piece as it is written.
printf '{"packet": "%s", "parameters": {"max_tokens": 16}}' "$(base64 -w0 "$packet")" >"$work/generate"
ask "$url/v2/models/$model/generate" --data-binary @"$work/generate" -H "Content-Type: application/json" && echo
ask --no-buffer "$url/v2/models/$model/generate_stream" --data-binary @"$work/generate" \
  -H "Content-Type: application/json"
