#!/usr/bin/env python3
"""Compares two paired datasets of the same sequences: what two captures of the same models and tokens
must agree in. Needs numpy.

    tests/scripts/compare_captures.py A B [--limit 1e-5]

Prints the largest relative error of a stream (norm of the difference over norm of A's) of each side's
keys and values; ends with 1 where one is above the limit, or where anything else differs.
"""

import argparse
import collections
import json
import pathlib
import sys

import numpy

OF_INDEX = ("layout", "num_sinks", "num_sequences", "num_tokens")
OF_SIDE = ("geometry", "revision", "tokenizer_sha256")
TYPES = {"F32": "f4", "F16": "f2", "BF16": "u2", "I32": "i4", "I64": "i8"}


class Differs(Exception):
    """Something other than rounding."""


class Shard:
    """The tensors of a safetensors file, mapped."""

    def __init__(self, path):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self._header = json.loads(file.read(length))
        self._header.pop("__metadata__", None)
        self._data = numpy.memmap(path, "u1", "r", offset=8 + length)

    def names(self):
        return sorted(self._header)

    def tensor(self, name):
        info = self._header[name]
        begin, end = info["data_offsets"]
        values = self._data[begin:end].view("<" + TYPES[info["dtype"]]).reshape(info["shape"])
        if info["dtype"] == "BF16":  # the upper half of a float32
            values = (values.astype("u4") << 16).view("f4")
        return values


def check_index(first, second):
    for role in ("sender", "receiver"):
        for key in OF_SIDE:
            if first[role][key] != second[role][key]:
                raise Differs(f"{role} {key}: {first[role][key]} and {second[role][key]}")
    for key in OF_INDEX:
        if first[key] != second[key]:
            raise Differs(f"{key}: {first[key]} and {second[key]}")
    if "documents" in first and "documents" in second and first["documents"] != second["documents"]:
        raise Differs("documents: other hashes")
    if len(first["shards"]) != len(second["shards"]):
        raise Differs(f"{len(first['shards'])} and {len(second['shards'])} shards")


def stream_errors(folders, indices):
    """{"sender.keys": largest relative error of a stream, over all tokens}, ..."""
    squares = collections.defaultdict(lambda: numpy.zeros(2))
    for entries in zip(*(index["shards"] for index in indices)):
        first, second = (Shard(folder / entry["file"]) for folder, entry in zip(folders, entries))
        if first.names() != second.names():
            raise Differs(f"{entries[0]['file']}: other tensors: {first.names()}, {second.names()}")
        for name in first.names():
            one, other = first.tensor(name), second.tensor(name)
            if one.shape != other.shape:
                raise Differs(f"{entries[0]['file']}: {name}: {one.shape} and {other.shape}")
            if name.startswith(("sender.keys", "sender.values", "receiver.")):
                one, other = one.astype("f8"), other.astype("f8")
                squares[name] += ((one - other) ** 2).sum(), (one**2).sum()
            elif not numpy.array_equal(one, other):
                raise Differs(f"{entries[0]['file']}: {name}: other numbers")
    largest = collections.defaultdict(float)
    for name, (difference, size) in squares.items():
        kind = name.rsplit(".", 1)[0]
        largest[kind] = max(largest[kind], float((difference / size) ** 0.5))
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs=2, type=pathlib.Path, metavar="DIR")
    parser.add_argument("--limit", type=float, default=1e-5, help="default: %(default)s")
    options = parser.parse_args()
    indices = [json.loads((folder / "index.json").read_text()) for folder in options.folders]
    try:
        check_index(*indices)
        errors = stream_errors(options.folders, indices)
    except Differs as difference:
        print(f"compare_captures: {difference}", file=sys.stderr)
        return 1
    for kind, error in sorted(errors.items()):
        print(f"{kind:16} {error:.3g}")
    return 0 if max(errors.values()) <= options.limit else 1


if __name__ == "__main__":
    sys.exit(main())
