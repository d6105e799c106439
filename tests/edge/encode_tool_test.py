"""Runs kvalign-encode as a device does: every layout makes the same packet, and mistakes have exit codes."""
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = os.environ["KVALIGN_ENCODE"]
LAYERS, HEADS, DIM, TOKENS, CAPACITY = 2, 2, 18, 11, 13
GEOMETRY_ID = bytes(range(32)).hex()


def number(stream, token, head, channel):
    """Exact in float16 and bfloat16."""
    return ((stream * 31 + token * 7 + head * 5 + channel * 3) % 200 - 100) / 8


def pack(order, dtype="f32"):
    """The numbers of (stream, token, head, channel) in this order."""
    code = {"f32": "<f", "f16": "<e"}[dtype]
    return b"".join(struct.pack(code, number(*place)) for place in order)


def rows(streams):
    return [(s, t, n, c) for s in streams for t in range(CAPACITY) for n in range(HEADS) for c in range(DIM)]


def heads_first(streams):
    return [(s, t, n, c) for s in streams for n in range(HEADS) for t in range(CAPACITY) for c in range(DIM)]


def transposed(streams):
    return [(s, t, n, c) for s in streams for n in range(HEADS) for c in range(DIM) for t in range(CAPACITY)]


class EncodeTool(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def file(self, name, data):
        (self.path / name).write_bytes(data)
        return str(self.path / name)

    def run_tool(self, *flags, shape=True):
        given = ["--layers", str(LAYERS), "--kv-heads", str(HEADS), "--head-dim", str(DIM), "--tokens",
                 str(TOKENS), "--capacity", str(CAPACITY), "--output", str(self.path / "packet")]
        return subprocess.run([TOOL, *(given if shape else []), *flags], capture_output=True, text=True)

    def encode(self, keys, values, *flags, geometry=True):
        flags = list(flags) + ["--keys", self.file("keys", keys)]
        if values is not None:
            flags += ["--values", self.file("values", values)]
        if geometry:
            flags += ["--geometry-id", GEOMETRY_ID]
        result = self.run_tool(*flags)
        self.assertEqual(result.returncode, 0, result.stderr)
        packet = (self.path / "packet").read_bytes()
        self.assertIn(f"{len(packet)} bytes", result.stdout)
        return packet

    def plain(self, *flags, **arguments):
        return self.encode(pack(heads_first([0, 1])), pack(heads_first([2, 3])), "--dtype", "f32", *flags,
                           **arguments)

    def test_every_layout_and_type_makes_the_same_packet(self):
        packet = self.plain()
        self.assertEqual(packet[:8], b"\x89KVP\r\n\x1a\n")
        self.assertEqual(packet[64:96], bytes(range(32)))
        self.assertEqual(self.encode(pack(heads_first([0, 1]), "f16"), pack(heads_first([2, 3]), "f16")), packet)
        self.assertEqual(self.encode(pack(rows([0, 1])), pack(rows([2, 3])), "--dtype", "f32", "--layout",
                                     "llama_cpp"), packet)
        self.assertEqual(self.encode(pack(rows([0, 1])), pack(transposed([2, 3])), "--dtype", "f32",
                                     "--layout", "llama_cpp_transposed"), packet)
        self.assertEqual(self.encode(pack(heads_first([0, 2, 1, 3])), None, "--dtype", "f32", "--layout",
                                     "tensorrt_llm"), packet)

    def test_flags_reach_the_packet(self):
        ids = self.file("ids", struct.pack(f"<{TOKENS}i", *range(TOKENS)))
        packet = self.plain("--element", "e5m2", "--scales", "channel", "--chunk", "4", "--sinks", "2",
                            "--reread", "1", "--position", "77", "--token-ids", ids, "--all-token-ids")
        self.assertEqual(packet[12:16], bytes([1, 2, 4, 1]))
        self.assertEqual(struct.unpack("<4IQ", packet[32:56]), (TOKENS, 4, 2, 1, 77))

    def test_keys_are_turned_back(self):
        frequencies = self.file("frequencies", struct.pack("<4f", 1, 0.5, 0.25, 0))
        half = self.plain("--inverse-frequencies", frequencies)
        interleaved = self.plain("--inverse-frequencies", frequencies, "--pairing", "interleaved")
        self.assertEqual(len({self.plain(), half, interleaved}), 3)

    def test_an_encoder_file_makes_latents_as_its_training_did(self):
        encoder = str(ROOT / "tests/golden/encoder_v1.bin")
        packet = self.plain("--encoder", encoder, geometry=False)
        self.assertEqual(packet[12:16], bytes([3, 1, 1, 0]))  # latent, E4M3FN, one static scale
        self.assertEqual(packet[132:136], struct.pack("<f", 1 / 16))
        self.assertEqual(packet[96:128], bytes(range(32, 64)))
        packet = self.plain("--encoder", encoder, "--scales", "tensor", geometry=False)
        self.assertNotEqual(packet[132:136], struct.pack("<f", 1 / 16))  # chosen from the cache

    def test_a_flat_cache_is_one_stream(self):
        keys = self.file("keys", pack([(0, t, 0, c) for t in range(5) for c in range(4)]))
        result = self.run_tool("--flat", "--keys", keys, "--dtype", "f32", "--layers", "1", "--kv-heads", "1",
                               "--head-dim", "4", "--tokens", "5", "--geometry-id", GEOMETRY_ID, "--output",
                               str(self.path / "packet"), shape=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual((self.path / "packet").read_bytes()[12], 2)

    def refused(self, code, message, *flags, **arguments):
        result = self.run_tool(*flags, **arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(message, result.stderr)
        self.assertFalse((self.path / "packet").exists())

    def test_wrong_usage(self):
        for message, flags in {
                "unknown flag --kys": ["--kys", "x"],
                "expected an argument after --keys": ["--keys"],
                "expected a number after --chunk": ["--chunk", "-1"],
                "expected the flag --keys": [],
                "expected numbers below 2^32": ["--keys", "k", "--chunk", "4294967296"],
                "expected --capacity of --tokens or more": ["--keys", "k", "--capacity", "2"],
                "expected --geometry-id or --encoder": ["--keys", "k"],
                "expected 64 digits": ["--keys", "k", "--geometry-id", "12"],
                "expected --element to be one of e4m3fn": ["--keys", "k", "--element", "int8"],
                "expected --scales to be one of none": ["--keys", "k", "--scales", "row"],
                "expected --pairing to be one of half": ["--keys", "k", "--pairing", "both"],
        }.items():
            self.refused(2, message, *flags)
        for flag in ("--layout", "--dtype"):
            self.refused(2, f"expected {flag} to be one of", "--keys", "k", "--geometry-id", GEOMETRY_ID, flag, "x")

    def test_what_fails(self):
        keys = self.file("keys", pack(heads_first([0, 1])))
        both = ["--keys", keys, "--geometry-id", GEOMETRY_ID, "--dtype", "f32"]
        self.refused(1, "expected --values", *both)
        self.refused(1, "No such file", *both, "--values", str(self.path / "nothing"))
        self.refused(1, "bytes by the flags", *both, "--values", self.file("short", b"1234"))
        self.refused(1, "expected token_ids", *both, "--values", keys, "--sinks", "1")
        self.refused(1, "magic bytes", *both, "--values", keys, "--encoder", keys)
        self.refused(1, "expected float32 numbers", *both, "--values", keys, "--inverse-frequencies",
                     self.file("odd", b"123"))

    def test_a_number_that_is_not_finite_is_named(self):
        values = bytearray(pack(heads_first([2, 3])))
        place = ((1 * HEADS + 1) * CAPACITY + 6) * DIM + 5
        values[4 * place:4 * place + 4] = struct.pack("<f", float("nan"))
        self.refused(1, "layer 1 values token 6 head 1 channel 5", "--keys",
                     self.file("keys", pack(heads_first([0, 1]))), "--values", self.file("values", bytes(values)),
                     "--geometry-id", GEOMETRY_ID, "--dtype", "f32")

    def test_help_names_every_flag(self):
        result = self.run_tool("--help", shape=False)
        self.assertEqual(result.returncode, 0)
        for flag in ("--keys", "--layout", "--inverse-frequencies", "--output", "Exit codes"):
            self.assertIn(flag, result.stdout)


if __name__ == "__main__":
    unittest.main()
