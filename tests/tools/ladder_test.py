"""kvalign eval with a ladder, and kvalign continue, as their users meet them: two tiny random models are
captured, a projector is fitted, and the ladder is climbed, stopped, gone on with and spoilt.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/ladder_test.py
"""
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
TOKENS, VOCABULARY = 24, 64


def write_tokens(path, documents, seed, tokenizer="tokenizer"):
    """Two sequences of random tokens of each named document, one byte a token."""
    chance = random.Random(seed)
    count = 2 * len(documents)
    write_safetensors(path, {
        "token_ids": ("I32", [chance.randrange(VOCABULARY) for _ in range(count * TOKENS)]),
        "token_ends": ("I32", [i + 1 for _ in range(count) for i in range(TOKENS)]),
        "sequence_offsets": ("I64", [TOKENS * i for i in range(count + 1)]),
        "document_ids": ("I64", [i // 2 for i in range(count)]),
    }, {"kvalign": json.dumps({
        "schema": 1, "created_by": "test", "source": {},
        "tokenizers": {"sender": sha256(tokenizer), "receiver": sha256(tokenizer)},
        "documents": [sha256(name) for name in documents]})})


def add_tokenizer(folder):
    """Token i is written "<i>"."""
    vocabulary = {f"<{i}>": i for i in range(VOCABULARY)}
    (folder / "tokenizer.json").write_text(json.dumps(
        {"model": {"type": "BPE", "vocab": vocabulary}, "decoder": {"type": "ByteLevel"}}))


class Ladder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvalign_ladder_"))
        for name in ["llama", "qwen3"]:
            shutil.copytree(MODELS / name, cls.folder / name)
            add_tokenizer(cls.folder / name)
        write_tokens(cls.folder / "fit.safetensors", [f"fit {i}" for i in range(10)], seed=1)
        write_tokens(cls.folder / "held_out.safetensors", [f"new {i}" for i in range(4)], seed=2)
        cls.config = cls.folder / "recipe.yaml"
        cls.config.write_text(f"""
run_folder: {cls.folder}/run
device: cpu
threads: 1
dataset: {{folder: {cls.folder}/data}}
split: {{validation: 0.2, test: 0.2}}
capture:
  sender: {cls.folder}/llama
  receiver: {cls.folder}/qwen3
  tokens: {cls.folder}/fit.safetensors
  num_sinks: 2
projector: {{kind: linear_residual, norm: none, layer_map: {{kind: all}}}}
loss: {{task: 0}}
train: {{epochs: 2}}
evaluate: {{bootstrap_resamples: 50, baselines: [mean, pad]}}
ladder:
  sender: {cls.folder}/llama
  receiver: {cls.folder}/qwen3
  tokens: {cls.folder}/held_out.safetensors
  prefix_tokens: 14
  continuation_tokens: 8
  sinks: 2
  reread: [0, 3]
  wire: float32
  gate_tokens: 30
""")
        for command in ["capture", "distill-train"]:
            result = cls.run_command(command)
            assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def run_command(cls, command, *arguments):
        return subprocess.run([KVALIGN, command, "--config", cls.config, *map(str, arguments)],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)

    def run_to(self, code, command, *arguments):
        result = self.run_command(command, *arguments)
        self.assertEqual(result.returncode, code, f"{result.stdout}\n{result.stderr}")
        return result

    def test_costs_on_other_devices(self):
        targets = ROOT / "configs/targets"
        devices = ["--set", f"cost.sender_target={targets}/jetson-nano.yaml",
                   "--set", f"cost.receiver_target={targets}/h100.yaml"]
        self.run_to(3, "eval", "--output", self.folder / "cost", *devices)
        report = json.loads((self.folder / "cost/report.json").read_text())
        counted = {row["row"]: 14 * row["bytes_per_token"] for row in report["ladder"]}
        rows = report["cost"]["rows"]
        self.assertEqual(rows[0]["row"], "text")
        self.assertIn("run + sinks + last 3", [row["row"] for row in rows])
        for row in rows:
            self.assertAlmostEqual(row["bytes_sent"], counted[row["row"]])
            self.assertEqual(row["energy"], "not measured")
        self.assertIn("estimate: total", (self.folder / "cost/report.md").read_text())
        # A mistake shows before anything is computed; without a ladder there is nothing to cost.
        result = self.run_to(1, "eval", *devices, "--set", "cost.receiver_target=absent.yaml")
        self.assertIn("absent.yaml", result.stderr)
        result = self.run_to(0, "eval", "--output", self.folder / "no_ladder", *devices,
                             "--set", "ladder.tokens=")
        self.assertIn("without ladder.tokens none are estimated", result.stderr)

    def test_report_and_verdict(self):
        # Random models have nothing to gain from a context: the gate cannot be met.
        result = self.run_to(3, "eval", "--output", self.folder / "report")
        self.assertRegex(result.stdout.splitlines()[-1], r"^run \+ sinks .* The gate is NOT met: ")
        for row in ["text", "true cache", "run + sinks + last 3", "wrong document + sinks",
                    "sinks alone", "no cache", "sender alone"]:
            self.assertIn(f"\n{row} ", result.stdout)
        self.assertEqual(result.stderr.count("gate passed: "), 4)
        report = json.loads((self.folder / "report/report.json").read_text())
        self.assertEqual(report["schema"], 1)
        self.assertFalse(report["gate"]["passed"])
        self.assertEqual(report["ladder"][0]["row"], "text")
        self.assertEqual(report["ladder"][0]["sequences"], 8)
        self.assertIn("reconstruction", report)
        self.assertIn("# Ladder: llama to qwen3", (self.folder / "report/report.md").read_text())
        self.assertIn("The gate is NOT met", (self.folder / "report/report.html").read_text())
        as_json = json.loads(self.run_to(3, "eval", "--output", self.folder / "report",
                                         "--json").stdout)
        self.assertEqual(as_json["differences"], report["differences"])

    def test_recipe_without_tokens_has_no_ladder(self):
        result = self.run_to(0, "eval", "--set", "ladder.tokens=''", "--json")
        self.assertNotIn("ladder", json.loads(result.stdout))

    def test_interrupted_ladder_goes_on(self):
        output = self.folder / "interrupted"
        arguments = [KVALIGN, "eval", "--config", self.config, "--output", output,
                     "--set", "ladder.reread=[0,1,2,3,4,5,6,7,8,9,10]"]
        process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        store = output / "ladder.jsonl"
        deadline = time.monotonic() + 60
        while not (store.exists() and "sequence" in store.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        if process.returncode == 130:  # else it was done before the signal came
            self.assertEqual(stdout, "")
            self.assertIn("the same command goes on from", stderr)
        self.run_to(3, *arguments[1:2], "--output", output,
                    "--set", "ladder.reread=[0,1,2,3,4,5,6,7,8,9,10]")
        lines = [json.loads(line) for line in store.read_text().splitlines()]
        self.assertEqual(sorted(line["sequence"] for line in lines if "sequence" in line),
                         list(range(8)))

    def test_a_dataset_of_another_model_fails_the_gate(self):
        spoilt = self.folder / "spoilt"
        shutil.copytree(self.folder / "qwen3", spoilt)
        config = json.loads((spoilt / "config.json").read_text())
        config["rms_norm_eps"] = 0.5
        (spoilt / "config.json").write_text(json.dumps(config))
        result = self.run_to(3, "eval", "--set", f"ladder.receiver={spoilt}", "--output",
                             self.folder / "never")
        self.assertIn("gate not met: the dataset's caches of the receiver differ", result.stderr)
        self.assertIn("the keys of layer 0", result.stderr)
        self.assertEqual(result.stdout, "")

    def test_another_tokenizer_is_refused(self):
        path = self.folder / "other.safetensors"
        write_tokens(path, ["new 0", "new 1"], seed=3, tokenizer="other")
        result = self.run_to(1, "eval", "--set", f"ladder.tokens={path}")
        self.assertIn("another tokenizer", result.stderr)

    def test_documents_of_the_fit_are_refused(self):
        result = self.run_to(1, "eval", "--set", f"ladder.tokens={self.folder}/fit.safetensors",
                             "--set", "ladder.sequences=0", "--set", "split.test=0.05")
        self.assertIn("expected held-out sequences of at least 2 documents", result.stderr)

    def test_continue_shows_the_texts_side_by_side(self):
        result = self.run_to(0, "continue", "--sequence", 2, "--tokens", 5)
        names = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
        self.assertEqual(names, ["sequence 2", "the prefix ends", "it goes on", "true cache",
                                 "run", "wrong document", "no cache", "sender alone"])
        shown = json.loads(self.run_to(0, "continue", "--tokens", 5, "--json").stdout)
        for row in shown["rows"]:
            self.assertEqual(row["text"].count("<"), 5)
        result = self.run_to(1, "continue", "--sequence", 8)
        self.assertIn("expected a held-out sequence from 0 to 7, got 8", result.stderr)


if __name__ == "__main__":
    unittest.main()
