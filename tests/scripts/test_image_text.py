"""Image-text files without a model: documents of several items, labels, order, and what is refused.

Needs the packages of scripts/tokenise.py: .deps/venv/bin/python -m unittest, or pytest. The images
are empty files: nobody looks at their pixels here.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

from capture import CaptureError, inputs


class ImageTextTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)
        self.encoded = []

    def write(self, name, lines):
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        for line in lines:
            (path.parent / line["image"]).touch()
        return str(path)

    def clips(self, name="samples.jsonl", clips=("a", "b"), frames=20):
        return self.write(
            name,
            [
                {"image": f"{clip}{frame}.jpg", "text": "?", "label": frame % 3, "document": clip}
                for clip in clips
                for frame in range(frames)
            ],
        )

    def plan(self, *paths, sequences=4, label_field="label", tokens=32):
        def encode(item):
            self.encoded.append(item["image"])
            return [7] * 20

        no_tokens = types.SimpleNamespace(input_ids=[])
        cutter = inputs.Cutter(lambda text: no_tokens, tokens, "image-text", encode)
        options = argparse.Namespace(
            input=list(paths),
            format="image-text",
            label_field=label_field,
            shares=None,
            seed=1,
            sequences=sequences,
            tokens=tokens,
        )
        return inputs.plan_sequences(options, cutter)

    def test_frames_of_a_clip_are_one_document_and_clips_take_turns(self):
        plan = self.plan(self.clips())
        self.assertEqual(len(plan.documents), 2)
        self.assertEqual(sorted(one.document for one in plan.sequences), [0, 0, 1, 1])
        for one in plan.sequences:
            name = pathlib.Path(one.item["image"]).stem
            self.assertEqual(one.document, "ab".index(name[0]))
            self.assertEqual(one.item["label"], int(name[1:]) % 3)

    def test_only_the_frames_that_are_wanted_are_encoded(self):
        self.plan(self.clips())
        self.assertEqual(len(self.encoded), 4)

    def test_a_few_frames_of_a_clip_are_not_its_first(self):
        plan = self.plan(self.clips(clips=("a",)))
        self.assertNotEqual(
            {pathlib.Path(one.item["image"]).name for one in plan.sequences},
            {"a0.jpg", "a1.jpg", "a2.jpg", "a3.jpg"},
        )

    def test_a_clip_is_known_again_whatever_its_frames(self):
        few = self.plan(self.clips("few/samples.jsonl", frames=3), sequences=2)
        many = self.plan(self.clips("many/samples.jsonl", frames=9), sequences=2)
        self.assertEqual(few.documents, many.documents)

    def test_lines_without_a_document_are_documents_of_their_own(self):
        lines = [{"image": f"{index}.jpg", "text": f"text {index}"} for index in range(3)]
        plan = self.plan(self.write("samples.jsonl", lines), sequences=3, label_field=None)
        self.assertEqual(sorted(one.document for one in plan.sequences), [0, 1, 2])
        self.assertEqual(len(set(plan.documents)), 3)
        self.assertNotIn("label", plan.sequences[0].item)

    def test_the_files_of_a_folder_share_documents(self):
        for name in ("samples/one.jsonl", "samples/two.jsonl"):
            self.clips(name, clips=("a",), frames=2)
        for image in (self.root / "samples").glob("*.jpg"):
            image.rename(self.root / image.name)
        for path in (self.root / "samples").glob("*.jsonl"):
            path.write_text(path.read_text().replace('"image": "', '"image": "../'))
        self.assertEqual(len(self.plan(str(self.root / "samples")).documents), 1)

    def test_a_document_in_two_inputs_is_refused(self):
        paths = [self.clips("one/s.jsonl"), self.clips("two/s.jsonl", clips=("c", "b"))]
        with self.assertRaisesRegex(CaptureError, "two/s.jsonl: document 'b' is also in --input"):
            self.plan(*paths)

    def test_pairs_too_few_or_too_long_are_told(self):
        for tokens, found in ((32, 40), (19, 0)):
            text = f"expected 50 sequences of {tokens} tokens, its 2 documents give {found}. "
            with self.assertRaisesRegex(CaptureError, text + "Lower --sequences, add pairs, or"):
                self.plan(self.clips(), sequences=50, tokens=tokens)

    def test_wrong_lines_are_named(self):
        for line, text in (
            ({"text": "t"}, "samples.jsonl:1: expected an object with image, text, label; label"),
            ({"text": "t", "label": "car"}, "1: label: expected a whole number from 0, got 'car'"),
            ({"text": "t", "label": -1}, "1: label: expected a whole number from 0, got -1"),
            ({"text": 2, "label": 1}, "samples.jsonl:1: text: expected a text, got 2"),
            ({"text": "t", "label": 1, "document": 3}, "1: document: expected a text, got 3"),
        ):
            with self.assertRaisesRegex(CaptureError, text):
                self.plan(self.write("samples.jsonl", [{"image": "x.jpg"} | line]))


if __name__ == "__main__":
    unittest.main()
