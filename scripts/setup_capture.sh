#!/usr/bin/env bash
# Makes the Python environment of the capture scripts in .deps/capture (or the folder given).
# Only capture, GGUF conversion and their tests need it; kvalign itself needs no Python.
# Idempotent: does nothing when the environment was made from the present requirements file.
#
#   scripts/setup_capture.sh [FOLDER]      then:  .deps/capture/bin/python scripts/capture_hf.py --help
#
# PYTHON=... chooses the interpreter (3.10 or newer, with venv).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="${1:-$root/.deps/capture}"
requirements="$root/scripts/requirements-capture.txt"
python="${PYTHON:-python3}"
stamp="$folder/requirements.sha256"

"$python" - <<'PY' || { echo "setup_capture: $python is older than 3.10 or lacks venv (Debian: apt-get install python3-venv); set PYTHON=..." >&2; exit 1; }
import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 10))
PY

wanted="$(sha256sum < "$requirements")"
if [[ -f "$stamp" && "$(cat "$stamp")" == "$wanted" ]]; then
  echo "setup_capture: $folder is up to date" >&2
  exit 0
fi

mkdir -p "$(dirname "$folder")"
[[ -x "$folder/bin/python" ]] || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --progress-bar off --no-cache-dir -r "$requirements"
# The import is the test: a stamp is written only for an environment that works.
"$folder/bin/python" -c 'import torch, transformers, gguf, safetensors, PIL, pytest
print(f"setup_capture: torch {torch.__version__}, transformers {transformers.__version__}")' >&2
printf '%s\n' "$wanted" > "$stamp"
