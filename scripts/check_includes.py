#!/usr/bin/env python3
"""Checks who includes whom: a folder includes only folders above it, and some never see LibTorch.

Usage: check_includes.py [ROOT]; prints one line a violation and exits 1 when there is one.
"""
import pathlib
import re
import sys

# From the bottom of the library to its top: a folder may include itself and what stands before it.
ORDER = ["format", "edge", "bounds", "core", "ops", "dataset", "model", "projector", "loss", "train",
         "evaluate", "monitor", "serve", "onnx", "deploy", "benchmark"]
STRANGERS = {("loss", "projector"), ("projector", "loss")}
WITHOUT_TORCH = {"format", "edge", "bounds", "monitor", "serve", "onnx"}
# What a folder of the lower layers may use besides the C++ standard library.
OURS = re.compile(r'^\s*#\s*include\s*[<"]kvalign/([a-z]+)/')
TORCH = re.compile(r'^\s*#\s*include\s*[<"](torch|ATen|c10)/')
WRONG_BRACKETS = re.compile(r'^\s*#\s*include\s*<kvalign/')


def violations(root):
    for kind in ("include/kvalign", "src"):
        for path in sorted((root / kind).rglob("*")):
            if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
                continue
            folder = path.relative_to(root / kind).parts[0]
            where = path.relative_to(root)
            if folder not in ORDER:
                yield f"{where}: folder '{folder}' is not one of {', '.join(ORDER)}"
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if WRONG_BRACKETS.match(line):
                    yield f'{where}:{number}: our own headers are included with "quotes"'
                if TORCH.match(line) and folder in WITHOUT_TORCH:
                    yield f"{where}:{number}: {folder}/ must not see LibTorch"
                match = OURS.match(line)
                if not match:
                    continue
                other = match.group(1)
                if other not in ORDER:
                    yield f"{where}:{number}: unknown folder '{other}'"
                elif ORDER.index(other) > ORDER.index(folder) or (folder, other) in STRANGERS:
                    yield f"{where}:{number}: {folder}/ must not include {other}/"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(violations(root))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
