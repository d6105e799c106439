"""task_file.py: the file's layout, which texts are held out, each format, and what is refused.

Needs the packages tokenizers and safetensors: .deps/venv/bin/python -m unittest, or pytest.
"""

import collections
import contextlib
import hashlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import task_file
from capture import labelled
from safetensors import safe_open
from tokenizers import Tokenizer

from tests.scripts.test_tokenise import WORDS, make_folder


def rows_of(count):
    """(label, text): every text once, half as many b as a."""
    return [("b" if i % 3 == 0 else "a", f"model {i} {WORDS[i % 7]}") for i in range(count)]


class TaskFile(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.folder = make_folder(self.root / "tokenizer")
        self.backend = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.write("".join(f"{label}\t{text}\n" for label, text in rows_of(30)))

    def write(self, text, name="texts.tsv"):
        (self.root / name).write_text(text)

    def run_script(self, **changes):
        """(exit code, stderr)."""
        options = {
            "tokenizer": self.folder,
            "input": self.root / "texts.tsv",
            "text_field": "2",
            "label_field": "1",
            "question": "\\nWhich?",
            "held_out": 12,
            "output": self.root / "task.safetensors",
        } | changes
        arguments = [
            part
            for name, value in options.items()
            if value is not None
            for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            try:
                code = task_file.main(arguments)
            except SystemExit as exit_:
                code = exit_.code
        return code, errors.getvalue()

    def made(self, **changes):
        """(tensors, metadata, held-out texts)."""
        code, errors = self.run_script(**changes)
        self.assertEqual(code, 0, errors)
        with safe_open(self.root / "task.safetensors", "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = json.loads(file.metadata()["kvalign"])
        side = "" if "token_ids" in tensors else "receiver."
        offsets = tensors[f"{side}sequence_offsets"]
        ids = tensors[f"{side}token_ids"]
        texts = [
            self.backend.decode(ids[begin:end].tolist()) for begin, end in zip(offsets, offsets[1:])
        ]
        return tensors, metadata, texts

    def refused(self, text, code=1, **changes):
        got, errors = self.run_script(**changes)
        self.assertEqual(got, code, errors)
        self.assertIn(text, errors)
        self.assertFalse((self.root / "task.safetensors").exists())

    def test_layout(self):
        tensors, metadata, texts = self.made(classes="a=the first,b", before="Read: ")
        self.assertEqual(set(tensors), {
            "token_ids", "token_ends", "sequence_offsets", "document_ids", "labels",
            "question.token_ids", "answers.token_ids", "answers.offsets"})  # fmt: skip
        labels = dict((text, label) for label, text in rows_of(30))
        self.assertEqual(len(texts), 12)
        for text, label, digest in zip(texts, tensors["labels"], metadata["documents"]):
            self.assertEqual(text[:6], "Read: ")
            self.assertEqual(labels[text[6:]], "ab"[label])
            self.assertEqual(digest, hashlib.sha256(text[6:].encode()).hexdigest())
        self.assertEqual(self.backend.decode(tensors["question.token_ids"].tolist()), "\nWhich?")
        begin, middle, end = tensors["answers.offsets"]
        answers = tensors["answers.token_ids"]
        self.assertEqual(self.backend.decode(answers[begin:middle].tolist()), " the first")
        self.assertEqual(self.backend.decode(answers[middle:end].tolist()), " b")
        held_out = collections.Counter(tensors["labels"].tolist())
        self.assertEqual(metadata["task"], {
            "question": "\nWhich?", "classes": ["a", "b"], "answers": [" the first", " b"],
            "train_label_counts": [20 - held_out[0], 10 - held_out[1]]})  # fmt: skip

    def test_answers_follow_a_line_break_at_once(self):
        tensors, metadata, _ = self.made(question="Which?\\nanswer:\\n")
        self.assertEqual(metadata["task"]["answers"], ["a", "b"])
        middle = tensors["answers.offsets"][1]
        self.assertEqual(self.backend.decode(tensors["answers.token_ids"][:middle].tolist()), "a")

    def test_two_tokenisers_read_the_same_text(self):
        other = make_folder(self.root / "other", vocabulary=270, split=False)
        tensors, metadata, texts = self.made(tokenizer=None, sender=other, receiver=self.folder)
        backend = Tokenizer.from_file(str(other / "tokenizer.json"))
        offsets = tensors["sender.sequence_offsets"]
        for i, text in enumerate(texts):
            ids = tensors["sender.token_ids"][offsets[i] : offsets[i + 1]].tolist()
            self.assertEqual(backend.decode(ids), text)
        for name in ("question.token_ids", "answers.token_ids", "answers.offsets"):
            self.assertIn(f"sender.{name}", tensors)
            self.assertIn(f"receiver.{name}", tensors)
        self.assertNotEqual(metadata["tokenizers"]["sender"], metadata["tokenizers"]["receiver"])

    def test_a_class_has_as_many_texts_as_asked(self):
        tensors, metadata, texts = self.made(held_out=None, held_out_per_class=7)
        self.assertEqual(collections.Counter(tensors["labels"].tolist()), {0: 7, 1: 7})
        self.assertEqual(metadata["task"]["train_label_counts"], [13, 3])
        again = self.made(held_out=None, held_out_per_class=7)
        self.assertEqual(texts, again[2])
        other = self.made(held_out=None, held_out_per_class=7, seed=2)
        self.assertNotEqual(texts, other[2])

    def test_a_text_counts_once_and_with_one_label_only(self):
        rows = rows_of(9) + rows_of(9) + [("a", "model 0 the"), ("c", "other")]
        self.write("".join(f"{label}\t {text} \n" for label, text in rows))
        _, metadata, texts = self.made(held_out=5, classes="a,b")
        self.assertEqual(metadata["source"]["dropped"], {
            "text_with_two_labels": 3, "duplicate": 8, "other_class": 1})  # fmt: skip
        self.assertEqual(len(set(texts)), 5)
        self.assertEqual(sum(metadata["task"]["train_label_counts"]), 3)

    def test_long_texts_are_not_held_out(self):
        long = " ".join(WORDS * 3)
        self.write("".join(f"{label}\t{text}\n" for label, text in rows_of(8)) + f"a\t{long}\n")
        _, metadata, texts = self.made(held_out=8, max_tokens=20)
        self.assertNotIn(long, texts)
        self.assertEqual(sum(metadata["task"]["train_label_counts"]), 1)
        self.refused_after_unlink("expected 9 texts to hold out", held_out=9, max_tokens=20)

    def refused_after_unlink(self, text, **changes):
        (self.root / "task.safetensors").unlink()
        self.refused(text, **changes)

    def test_formats_hold_the_same_texts(self):
        expected = self.made()[2]
        rows = [(label, text + ', "so"') for label, text in rows_of(30)]
        quoted = [text + ', "so"' for text in expected]
        self.write("".join(f"{label}\t{text}\n" for label, text in rows))
        self.assertEqual(self.made()[2], quoted)
        csv = "kind,words\n" + "".join(
            f'{label},"{text}, ""so"""\n' for (label, text) in rows_of(30)
        )
        self.write(csv, "texts.csv")
        fields = {"text_field": "words", "label_field": "kind"}
        self.assertEqual(self.made(input=self.root / "texts.csv", **fields)[2], quoted)
        lines = [json.dumps({"kind": label, "words": text}) for label, text in rows]
        self.write("\n".join(lines), "texts.jsonl")
        self.assertEqual(self.made(input=self.root / "texts.jsonl", **fields)[2], quoted)

    def test_refuses_bad_rows_with_file_and_line(self):
        self.write("a\tone\nb\ttwo\tthree\n")
        self.refused("texts.tsv:2: expected 2 columns as in the first line, got 3")
        self.write("a\tone\nb\t \n")
        self.refused("texts.tsv:2: 2: expected a text that is not empty, got ' '")
        self.write("a\none\n")
        self.refused("texts.tsv:1: expected at least 2 columns, got 1")
        fields = {"text_field": "words", "label_field": "kind"}
        self.refused("texts.tsv:1: expected a column 'words', found a", **fields)
        self.write('{"words": "x", "kind": 1}\n{"words": 3, "kind": "b"}\n', "t.jsonl")
        self.refused("t.jsonl:2: words: expected a text that is not empty, got 3",
                     input=self.root / "t.jsonl", **fields)  # fmt: skip
        self.write('words,kind\n"x" y,b\n', "t.csv")
        self.refused("t.csv:2: not CSV", input=self.root / "t.csv", **fields)

    def test_refuses_classes_that_are_none(self):
        self.refused("found none of c. Labels there are: a, b", classes="a,c")
        self.refused("expected at least 2 different classes, got ['a']", classes="a")
        self.refused("got the same tokens for two of", classes="a=yes,b=yes")
        self.refused("expected different labels", code=2, classes="a,a")

    def test_refuses_what_cannot_be_held_out(self):
        self.refused("expected 31 texts to hold out of all, there are 30", held_out=31)
        self.refused("expected 11 texts to hold out of each class, there are 10",
                     held_out=None, held_out_per_class=11)  # fmt: skip
        self.refused("one of the arguments", code=2, held_out=None)
        self.write("", "texts.txt")
        self.refused("--format: expected one of tsv, csv, jsonl", code=2,
                     input=self.root / "texts.txt")  # fmt: skip
        self.refused("no such file", input=self.root / "nowhere.tsv")
        self.refused("makes no token of ''", question="")


class HoldOut(unittest.TestCase):
    def test_a_rare_class_does_not_come_last(self):
        examples = [labelled.Example(str(i), int(i % 10 == 0)) for i in range(1000)]
        chosen = labelled.hold_out(examples, 2, {"texts_per_class": 100}, 5)
        labels = [example.label for example in chosen]
        self.assertEqual((len(labels), sum(labels)), (200, 100))
        self.assertTrue(30 < sum(labels[:100]) < 70, labels)


if __name__ == "__main__":
    unittest.main()
