#!/usr/bin/env python3
"""Writes an encoder file of version 1, from the table in include/kvalign/format/encoder_file.h and from
nothing else of this project: writer and reader are both compared with it. It must stay readable for ever.

    tests/golden/make_encoder.py [FOLDER]
"""

import pathlib
import struct
import sys

from make_packets import crc32c

LAYERS, HEADS, DIM, RANK = 2, 2, 18, 24
STREAMS = [2, 0, 3]
E4M3FN = 1


def number(place):
    """Exact in float32, in [-1, 1)."""
    return ((place * 2654435761 + 12345) % 2**32 // 2**9 - 2**22) / 2**22


def padded(data):
    return data + bytes(-len(data) % 64)


def main():
    features = len(STREAMS) * HEADS * DIM
    row = -(-features // 16) * 16
    bias = [number(i) for i in range(RANK)]
    payload = padded(struct.pack("<%dI" % len(STREAMS), *STREAMS)) + padded(struct.pack("<%df" % RANK, *bias))
    for i in range(RANK):
        weights = [number(1000 + i * features + f) for f in range(features)]
        payload += struct.pack("<%df" % row, *weights, *([0] * (row - features)))
    header = b"\x89KVE\r\n\x1a\n" + struct.pack("<HHBBH5IfQ", 1, 128, 0, E4M3FN, 0, LAYERS, HEADS, DIM, RANK,
                                               len(STREAMS), 1 / 16, 128 + len(payload))
    header += bytes(range(32)) + bytes(range(32, 64)) + struct.pack("<IQ", crc32c(payload), 0)
    header += struct.pack("<I", crc32c(header))
    assert len(header) == 128
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    (folder / "encoder_v1.bin").write_bytes(header + payload)
    print(f"encoder_v1.bin: {len(header + payload)} bytes")


if __name__ == "__main__":
    main()
