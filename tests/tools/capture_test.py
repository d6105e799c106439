"""kvalign capture as its users meet it: tiny random models are captured, with one tokeniser and with
two; a capture is interrupted and goes on; mistakes are refused.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/capture_test.py
"""
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from tests.tools.token_files import sha256, write_safetensors

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
MODELS = ROOT / "tests/golden/decoder"
VOCABULARY = 64


def side_of(chance, prefix, count, tokens, text_bytes):
    """`count` sequences of `tokens` random tokens that cover `text_bytes` evenly."""
    return {
        f"{prefix}token_ids": ("I32", [chance.randrange(VOCABULARY) for _ in range(count * tokens)]),
        f"{prefix}token_ends": ("I32", [text_bytes * (i + 1) // tokens
                                        for _ in range(count) for i in range(tokens)]),
        f"{prefix}sequence_offsets": ("I64", [tokens * i for i in range(count + 1)]),
    }


def write_tokens(path, count, tokens, sender_tokens=None):
    chance = random.Random(1)
    if sender_tokens:
        sides = (side_of(chance, "sender.", count, sender_tokens, 3 * tokens)
                 | side_of(chance, "receiver.", count, tokens, 3 * tokens))
    else:
        sides = side_of(chance, "", count, tokens, 3 * tokens)
    write_safetensors(path, sides | {"document_ids": ("I64", list(range(count)))}, {
        "kvalign": json.dumps({
            "schema": 1, "created_by": "test", "source": {},
            "tokenizers": {"sender": sha256("other" if sender_tokens else "one"),
                           "receiver": sha256("one")},
            "documents": [sha256(str(i)) for i in range(count)]})})


class Capture(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvalign_capture_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.tokens, self.data = self.folder / "tokens.safetensors", self.folder / "pairs"
        self.config = self.folder / "recipe.yaml"
        self.config.write_text(f"""
device: cpu
threads: 1
dataset: {{folder: {self.data}}}
split: {{validation: 0.25, test: 0.25}}
capture:
  sender: {MODELS}/llama
  receiver: {MODELS}/mistral
  tokens: {self.tokens}
  sequences_per_shard: 3
  batch_sequences: 2
projector: {{kind: linear_residual, layer_map: {{kind: all}}}}
loss: {{task: 0}}
train: {{epochs: 1}}
run_folder: {self.folder}/run
""")

    def command(self, name, *arguments):
        return [str(KVALIGN), *name.split(), "--config", str(self.config), *map(str, arguments)]

    def run_to(self, code, name, *arguments):
        result = subprocess.run(self.command(name, *arguments), capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=120)
        self.assertEqual(result.returncode, code, f"{name}\n{result.stdout}\n{result.stderr}")
        return result

    def shard_hashes(self):
        return [hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(self.data.glob("pairs-*"))]

    def test_captures_and_trains(self):
        write_tokens(self.tokens, count=8, tokens=12)
        captured = json.loads(self.run_to(0, "capture", "--json").stdout)
        self.assertEqual((captured["num_sequences"], captured["num_tokens"]), (8, 96))
        self.assertEqual((captured["shards_written"], captured["model_tokens"]), (3, 2 * 96))
        self.run_to(0, "dataset verify")
        self.run_to(0, "distill-train")
        again = self.run_to(0, "capture")
        self.assertIn("8 sequences, 96 tokens in 3 shards, 3 of them kept", again.stdout)
        self.assertIn("kvalign 0", again.stderr)

    def test_two_tokenisers(self):
        write_tokens(self.tokens, count=8, tokens=12, sender_tokens=9)
        self.run_to(0, "capture")
        inspected = json.loads(self.run_to(0, "dataset inspect", "--json").stdout)
        self.assertEqual((inspected["has_alignment"], inspected["num_sender_tokens"]), (True, 72))
        self.run_to(0, "distill-train")
        self.run_to(0, "distill-train", "--set", "dataset.alignment=mean", "--set",
                    f"run_folder={self.folder}/mean")
        weights = [(self.folder / run / "checkpoint.safetensors").read_bytes()
                   for run in ("run", "mean")]
        self.assertNotEqual(*weights)
        self.run_to(0, "eval", "--set", "evaluate.baselines=[mean]")

    def test_an_interrupted_capture_goes_on(self):
        write_tokens(self.tokens, count=400, tokens=200)
        process = subprocess.Popen(self.command("capture"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not list(self.data.glob("pairs-*.safetensors")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        self.assertEqual((process.returncode, stdout), (130, ""), stderr)
        self.assertIn("of 134 shards; the same command goes on", stderr)
        self.assertFalse((self.data / "index.json").exists())
        kept = self.shard_hashes()
        result = json.loads(self.run_to(0, "capture", "--json").stdout)
        self.assertEqual(result["shards_kept"], len(kept))
        resumed = self.shard_hashes()
        self.assertEqual(resumed[:len(kept)], kept)
        shutil.rmtree(self.data)
        self.run_to(0, "capture")
        self.assertEqual(self.shard_hashes(), resumed)

    def test_mistakes(self):
        write_tokens(self.tokens, count=2, tokens=4)
        for code, text, *sets in [
                (2, "option 'capture.sender' is required", "capture.sender=''"),
                (2, "expected one of float16, bfloat16, float32", "capture.dtype=int8"),
                (1, "absent", "capture.tokens=absent"),
                (1, "absent", "capture.sender=absent")]:
            arguments = [word for value in sets for word in ("--set", value)]
            result = self.run_to(code, "capture", *arguments)
            self.assertIn(text, result.stderr)
            self.assertEqual(result.stdout, "")
        self.run_to(0, "capture")
        result = self.run_to(1, "capture", "--set", "capture.dtype=float32")
        self.assertIn("holds a capture of other models, tokens or options", result.stderr)


if __name__ == "__main__":
    unittest.main()
