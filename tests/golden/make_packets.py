#!/usr/bin/env python3
"""Writes packets of version 1, from the table in include/kvalign/format/packet.h and from nothing else
of this project: reader and writer are both compared with them. They must stay readable for ever.

    tests/golden/make_packets.py [FOLDER]
"""

import pathlib
import struct
import sys

CACHE, LATENT = 1, 3
E4M3FN, E5M2 = 1, 2
TENSOR, TOKEN, BLOCK = 1, 3, 5


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sealed(record):
    return record + struct.pack("<I", crc32c(record))


def token_ids(tokens):
    return b"".join(struct.pack("<i", 70000 + 3 * token) for token in tokens)


def float_scales(first, count):
    """(first + i) / 64, exact in float32."""
    return b"".join(struct.pack("<f", (first + i) / 64) for i in range(count))


def packet(content, element, scales, all_ids, layers, heads, dim, rank, tokens, chunk, sinks, reread,
           position):
    streams, width = (1, rank) if content == LATENT else (2 * layers, heads * dim)
    static = float_scales(1, streams) if scales == TENSOR else b""
    preamble = sealed(static + token_ids(range(sinks)))

    chunks = []
    for first in range(sinks, tokens - reread, chunk):
        members = range(first, min(first + chunk, tokens - reread))
        body = token_ids(members) if all_ids else b""
        for token in members:
            if scales == TOKEN:
                body += float_scales(10 * token + 1, streams)
            if scales == BLOCK:
                body += bytes(110 + token + block for block in range(streams * -(-width // 32)))
        for token in members:
            body += bytes((131 * token + 37 * i + 11) & 0xFF for i in range(streams * width))
        chunks.append(sealed(b"CHNK" + struct.pack("<IIQ", first, len(members), len(body)) + body))

    end = sealed(b"END." + struct.pack("<I", len(chunks)) + token_ids(range(tokens - reread, tokens)))
    rest = preamble + b"".join(chunks) + end
    header = b"\x89KVP\r\n\x1a\n" + struct.pack("<HH4B8IQQ", 1, 132, content, element, scales, all_ids,
                                               layers, heads, dim, rank, tokens, chunk, sinks, reread,
                                               position, 132 + len(rest))
    header += bytes(range(32)) + (bytes(range(32, 64)) if content == LATENT else bytes(32))
    return sealed(header) + rest


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    packets = {
        "latent": packet(LATENT, E4M3FN, TENSOR, 0, 0, 0, 0, 48, tokens=7, chunk=3, sinks=2, reread=1,
                         position=1000),
        "token_scales": packet(CACHE, E4M3FN, TOKEN, 0, 2, 1, 4, 0, tokens=5, chunk=2, sinks=0, reread=0,
                               position=0),
        "block_scales": packet(CACHE, E5M2, BLOCK, 1, 1, 2, 20, 0, tokens=6, chunk=2, sinks=1, reread=2,
                               position=5000000000),
    }
    for name, data in packets.items():
        (folder / f"packet_v1_{name}.bin").write_bytes(data)
        print(f"packet_v1_{name}.bin: {len(data)} bytes")


if __name__ == "__main__":
    main()
