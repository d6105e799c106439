"""task_baselines.py: it trains on what is not held out and says so; what it refuses.

Needs scikit-learn, tokenizers and safetensors: .deps/venv/bin/python -m unittest, or pytest.
"""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import task_baselines
import task_file
from capture import files

from tests.scripts.test_tokenise import make_folder


class TaskBaselines(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        # A word tells the class of every text, but for one that is held out.
        self.rows = [("hot" if i % 2 else "cold", i) for i in range(40)]
        lines = [
            f"{label}\t{'fire' if label == 'hot' else 'ice'} at {i}\n" for label, i in self.rows
        ]
        (self.root / "texts.tsv").write_text("".join(lines))
        self.make_task()

    def make_task(self, held_out=10):
        tokenizer = self.root / "tokenizer"
        if not tokenizer.exists():
            make_folder(tokenizer)
        arguments = ["--tokenizer", tokenizer, "--input", self.root / "texts.tsv",
                     "--text-field", 2, "--label-field", 1, "--question", "?",
                     "--held-out-per-class", held_out,
                     "--output", self.root / "task.safetensors"]  # fmt: skip
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(task_file.main(list(map(str, arguments))), 0)

    def run_script(self, task="task.safetensors", text="texts.tsv"):
        """(exit code, stdout, stderr)."""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = task_baselines.main(
                ["--task", str(self.root / task), "--input", str(self.root / text),
                 "--output", str(self.root / "out.json")])  # fmt: skip
        return code, output.getvalue(), errors.getvalue()

    def test_learns_the_word_that_tells(self):
        code, output, errors = self.run_script()
        self.assertEqual(code, 0, errors)
        result = json.loads((self.root / "out.json").read_text())
        self.assertEqual(result["task_sha256"], files.sha256_of(self.root / "task.safetensors"))
        self.assertEqual((result["train_texts"], result["held_out_texts"]), (20, 20))
        self.assertEqual(result["majority_class"], {
            "class": "cold", "accuracy": 0.5, "balanced_accuracy": 0.5,
            "macro_f1": 0.333333})  # fmt: skip
        (classifier,) = result["classifiers"]
        _, labels = task_baselines.read_task(self.root / "task.safetensors")
        self.assertEqual(classifier["answers"], labels)
        self.assertEqual(classifier["macro_f1"], 1)
        self.assertIn("TF-IDF + logistic regression", output)

    def test_what_is_held_out_is_not_learned(self):
        metadata, labels = task_baselines.read_task(self.root / "task.safetensors")
        train, texts = task_baselines.read_sides(metadata, self.root / "texts.tsv")
        self.assertEqual(len(texts), 20)
        self.assertFalse({example.text for example in train} & set(texts))
        for text, label in zip(texts, labels):
            self.assertEqual("ice" in text, label == 0)

    def refused(self, message, **arguments):
        code, output, errors = self.run_script(**arguments)
        self.assertEqual((code, output), (1, ""))
        self.assertIn(message, errors)

    def test_refuses_what_does_not_belong_together(self):
        (self.root / "other.tsv").write_text("hot\tfire\n")
        self.refused("expected the file that the task was made of (texts.tsv", text="other.tsv")
        self.refused("cannot be read", task="nowhere.safetensors")
        self.make_task(held_out=20)
        self.refused("expected texts of every class that are not held out, got [0, 0]")


if __name__ == "__main__":
    unittest.main()
