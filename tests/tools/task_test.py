"""Task success as its users meet it, on the demo's own models and labels: incident logs become task
files of 2, 5 and 20 classes, a projector is fitted, and kvalign eval asks about the caches.

Run by ctest, which names the built command in the environment, with the interpreter that has
tokenizers and scikit-learn: KVALIGN=build/release/tools/kvalign .deps/venv/bin/python -m unittest
tests/tools/task_test.py
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
QUESTIONS = {"alarm": 2, "severity": 5, "code": 20}


class Task(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="kvalign_task_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.script("incident_log.py", "--documents", 24, "--seed", 3, "--output",
                   cls.folder / "fit.txt", "--task", cls.folder / "fit.jsonl")
        cls.script("tokenise.py", "--tokenizer", ROOT / "demo/receiver", "--input",
                   cls.folder / "fit.txt", "--sequences", 24, "--tokens", 128, "--output",
                   cls.folder / "fit.safetensors")
        cls.script("incident_log.py", "--documents", 160, "--seed", 4, "--output",
                   cls.folder / "logs.txt", "--task", cls.folder / "logs.jsonl")
        cls.config = cls.folder / "recipe.yaml"
        cls.config.write_text(f"""
run_folder: {cls.folder}/run
device: cpu
threads: 1
dataset: {{folder: {cls.folder}/pairs}}
capture:
  sender: demo/sender
  receiver: demo/receiver
  tokens: {cls.folder}/fit.safetensors
projector: {{kind: linear_residual, norm: none, layer_map: {{kind: all, features: both}}}}
loss: {{task: 0}}
fit: {{kind: ridge}}
evaluate: {{bootstrap_resamples: 200, baselines: []}}
ladder: {{sender: demo/sender, receiver: demo/receiver, gate_tokens: 100}}
""")
        for command in ["capture", "distill-train"]:
            result = cls.run_command(command)
            assert result.returncode == 0, result.stderr

    @classmethod
    def script(cls, name, *arguments):
        result = subprocess.run([sys.executable, ROOT / "scripts" / name, *map(str, arguments)],
                                capture_output=True, text=True, cwd=ROOT, timeout=120)
        assert result.returncode == 0, result.stderr

    @classmethod
    def run_command(cls, command, *arguments):
        return subprocess.run([KVALIGN, command, "--config", cls.config, *map(str, arguments)],
                              capture_output=True, text=True, cwd=ROOT, timeout=300)

    def make_task(self, label, held_out):
        path = self.folder / f"{label}.safetensors"
        self.script("task_file.py", "--tokenizer", ROOT / "demo/receiver", "--input",
                    self.folder / "logs.jsonl", "--text-field", f"before_{label}", "--label-field", label,
                    "--question", f"\\n{label}", "--held-out", held_out, "--max-tokens", 450,
                    "--output", path)
        return path

    def evaluate(self, label, *arguments):
        result = self.run_command(
            "eval", "--output", self.folder / f"eval_{label}", "--set",
            f"task.file={self.make_task(label, 8)}", *arguments)
        self.assertEqual(result.returncode, 0, f"{result.stdout}\n{result.stderr}")
        report = json.loads((self.folder / f"eval_{label}/report.json").read_text())
        jsonschema.validate(report, json.loads((ROOT / "results/report.schema.json").read_text()))
        return result, report["task_success"]

    def test_two_five_and_twenty_classes(self):
        for label, num_classes in QUESTIONS.items():
            with self.subTest(label):
                result, task = self.evaluate(label)
                self.assertEqual(len(task["classes"]), num_classes)
                self.assertEqual(task["texts"], 8)
                rows = {row["row"]: row for row in task["rows"]}
                self.assertEqual(list(rows), [
                    "text", "true cache", "run + sinks", "wrong document + sinks", "sinks alone",
                    "no cache", "sender alone", "majority class"])
                for row in rows.values():
                    self.assertEqual(sum(row["said"]), 8)
                self.assertEqual(rows["true cache"]["agreement"]["value"], 1)
                self.assertEqual(max(rows["no cache"]["said"]), 8)
                self.assertEqual(result.stderr.count("gate passed: "), 4)
                self.assertIn("run + sinks answers ", result.stdout.splitlines()[-1])

    def test_whoever_reads_the_log_knows_the_alarm(self):
        """The receiver has learned to answer: chance is 1 of 2, and no cache tells nothing."""
        _, task = self.evaluate("alarm", "--set", "task.texts=8")
        rows = {row["row"]: row for row in task["rows"]}
        self.assertGreaterEqual(rows["text"]["accuracy"]["value"], 6 / 8)

    def test_text_classifiers_are_rows(self):
        path = self.make_task("alarm", 8)
        output = self.folder / "classifiers.json"
        self.script("task_baselines.py", "--task", path, "--input", self.folder / "logs.jsonl",
                    "--output", output)
        _, task = self.evaluate("alarm", "--set", f"task.text_classifiers={output}")
        self.assertEqual(task["rows"][-1]["row"], "TF-IDF + logistic regression")
        classifier = json.loads(output.read_text())["classifiers"][0]
        for figure in ("accuracy", "balanced_accuracy", "macro_f1"):
            self.assertAlmostEqual(task["rows"][-1][figure]["value"], classifier[figure], 6)
        self.make_task("code", 9)
        result = self.run_command("eval", "--set", f"task.file={self.folder}/code.safetensors",
                                  "--set", f"task.text_classifiers={output}")
        self.assertEqual(result.returncode, 1)
        self.assertIn("it is about another task file", result.stderr)

    def test_refuses_a_token_file(self):
        result = self.run_command("eval", "--set", f"task.file={self.folder}/fit.safetensors")
        self.assertEqual(result.returncode, 1)
        self.assertIn('missing key "task"', result.stderr)


if __name__ == "__main__":
    unittest.main()
