"""kvalign export --format edge, encode and decode: what the server writes, the device's own command writes too.

Run by ctest: KVALIGN=build/release/tools/kvalign KVALIGN_ENCODE=build/release/tools/kvalign-encode
python3 -m unittest tests/tools/packet_test.py
"""
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
KVALIGN_ENCODE = pathlib.Path(os.environ["KVALIGN_ENCODE"]).resolve()
SETS = [word for option in ("layout=layers", "sender.num_layers=2", "sender.num_kv_heads=2", "sender.head_dim=20",
                            "receiver.num_layers=3", "receiver.num_kv_heads=2", "receiver.head_dim=8",
                            "num_sequences=3", "tokens_per_sequence=25")
        for word in ("--set", f"generate.{option}")]


def run(command, *arguments):
    return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def read_safetensors(path):
    """Name to shape and bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    return {name: (entry["shape"], body[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


class Packets(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def succeed(self, command, *arguments):
        result = run(command, *arguments)
        self.assertEqual(result.returncode, 0, f"{arguments}\n{result.stderr}")
        return result.stdout

    def generate(self):
        self.succeed(KVALIGN, "dataset", "generate", self.path / "pairs", *SETS)
        return json.loads((self.path / "pairs/index.json").read_text())["sender"]["geometry"]

    def test_the_device_makes_the_servers_packet(self):
        geometry = self.generate()
        packet = self.path / "packet"
        # The cache as float32, through a packet that keeps it.
        self.succeed(KVALIGN, "encode", self.path / "pairs", packet, "--sequence", 1, "--element", "f32")
        geometry_id = packet.read_bytes()[64:96].hex()
        self.succeed(KVALIGN, "decode", packet, "--output", self.path / "values.safetensors")
        (tokens, streams, width), data = read_safetensors(self.path / "values.safetensors")["values"]
        rows = [data[i:i + 4 * width] for i in range(0, len(data), 4 * width)]
        for name, members in {"keys": range(streams // 2), "values": range(streams // 2, streams)}.items():
            (self.path / name).write_bytes(b"".join(rows[t * streams + s] for s in members for t in range(tokens)))

        for scales in ("tensor", "head", "token", "channel", "block32"):
            options = ["--scales", scales, "--chunk", 7]
            printed = json.loads(self.succeed(KVALIGN, "encode", self.path / "pairs", packet, "--sequence", 1,
                                              *options))
            self.assertAlmostEqual(printed["bytes_per_token"]["total"] * tokens, packet.stat().st_size)
            self.succeed(KVALIGN_ENCODE, "--keys", self.path / "keys", "--values", self.path / "values",
                         "--layout", "llama_cpp", "--dtype", "f32", "--layers", geometry["num_layers"], "--kv-heads", geometry["num_kv_heads"],
                         "--head-dim", geometry["head_dim"], "--tokens", tokens, "--geometry-id", geometry_id,
                         "--output", self.path / "device", *options)
            self.assertEqual((self.path / "device").read_bytes(), packet.read_bytes(), scales)

    def test_a_packet_is_certified_alone(self):
        self.generate()
        packet = self.path / "packet"
        self.succeed(KVALIGN, "encode", self.path / "pairs", packet, "--scales", "token")
        certificate = json.loads(self.succeed(KVALIGN, "eval", "--certify", packet, "--json"))
        self.assertEqual(certificate["wire"], "float8_e4m3fn/token")
        self.assertEqual(certificate["uncertified"], 0)
        self.assertLess(0.01, certificate["certified_relative"]["p50"])
        self.assertIn("certified: |x - x_hat|", self.succeed(KVALIGN, "eval", "--certify", packet))
        # The largest number of each stream has the largest code, which may stand for more.
        self.succeed(KVALIGN, "encode", self.path / "pairs", packet, "--scales", "tensor")
        static = run(KVALIGN, "eval", "--certify", packet)
        self.assertEqual(static.returncode, 3, static.stderr)
        self.assertIn("may be saturated", static.stdout)
        packet.write_bytes(b"not a packet")
        self.assertEqual(run(KVALIGN, "eval", "--certify", packet).returncode, 1)

    def test_mistakes_have_exit_codes(self):
        self.generate()
        packet = self.path / "packet"
        wrong = run(KVALIGN, "encode", self.path / "pairs", packet, "--scales", "row")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("scales to be one of none", wrong.stderr)
        self.assertFalse(packet.exists())
        packet.write_bytes(b"not a packet")
        damaged = run(KVALIGN, "decode", packet)
        self.assertEqual(damaged.returncode, 1)
        self.assertIn("expected the magic bytes of a packet", damaged.stderr)
        exported = run(KVALIGN, "export", "tests/golden/checkpoint_v1.safetensors", self.path / "encoder", "--format", "edge")
        self.assertEqual(exported.returncode, 1)
        self.assertIn("expected a low_rank projector", exported.stderr)


if __name__ == "__main__":
    unittest.main()
