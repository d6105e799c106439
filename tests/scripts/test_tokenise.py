"""tokenise.py: the token file's layout, byte ends, two tokenisers, labels, and what it refuses;
with transformers installed, that ids, plan and hash are those of capture_hf.py.

Needs the packages tokenizers and safetensors: .deps/venv/bin/python -m unittest, or pytest.
"""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import numpy
import tokenise
from capture import inputs, tokens
from safetensors import safe_open
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

try:
    import transformers
except ImportError:
    transformers = None

WORDS = "the cache of a small model helps a large one to read less".split()
TEMPLATE = "{% for m in messages %}\n{{ m['role'] }}: {{ m | tojson }}{{ eos_token }}\n{% endfor %}"


def text_of(num_words, first):
    return " ".join(WORDS[(first * 7 + i * i) % len(WORDS)] for i in range(num_words))


def make_folder(path, vocabulary=300, with_bos=False, split=True, trim=False, template=TEMPLATE):
    """A folder with a byte-level BPE tokeniser; split=False: words end with their space."""
    tokenizer = Tokenizer(models.BPE())
    before = [] if split else [pre_tokenizers.Split(" ", "merged_with_previous")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*before, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([text_of(200, 1)], trainer)
    if trim:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if with_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    path.mkdir(parents=True)
    tokenizer.save(str(path / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True},
    }
    if template:
        config["chat_template"] = template
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def read(path):
    """(tensors, metadata object) of a token file."""
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(
            file.metadata()["kvalign"]
        )


class TokeniseTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)
        self.documents = [text_of(60, i) + "\n" for i in range(5)]
        (self.root / "text").write_text("<|endoftext|>\n".join(self.documents))
        self.folder = make_folder(self.root / "one")

    def arguments(self, **changes):
        options = {
            "tokenizer": self.folder,
            "input": self.root / "text",
            "output": self.root / "tokens.safetensors",
            "sequences": 8,
            "tokens": 24,
        } | changes
        return [
            part
            for name, value in options.items()
            if value is not None
            for part in (f"--{name.replace('_', '-')}", str(value))
        ]

    def run_script(self, **changes):
        """(exit code, stderr)."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            try:
                code = tokenise.main(self.arguments(**changes))
            except SystemExit as exit_:
                code = exit_.code
        return code, errors.getvalue()

    def made(self, **changes):
        code, errors = self.run_script(**changes)
        self.assertEqual(code, 0, errors)
        return read(self.root / "tokens.safetensors")

    def test_file_follows_the_layout(self):
        tensors, metadata = self.made()
        self.assertEqual(
            {name: (value.dtype.name, value.shape) for name, value in tensors.items()},
            {
                "token_ids": ("int32", (192,)),
                "token_ends": ("int32", (192,)),
                "sequence_offsets": ("int64", (9,)),
                "document_ids": ("int64", (8,)),
            },
        )
        self.assertEqual(metadata["schema"], 1)
        digest = tokens.TextTokenizer(self.folder).digest
        self.assertEqual(metadata["tokenizers"], {"sender": digest, "receiver": digest})
        self.assertEqual(
            metadata["documents"],
            [inputs.document_digest(text.strip("\n"), "text") for text in self.documents],
        )
        self.assertEqual(metadata["source"]["tokens"], 24)
        self.assertEqual(list(self.root.glob(".tmp-*")), [])

    def test_ends_are_the_bytes_of_each_token(self):
        """Without merges a byte-level token is one byte, and a character ends with its last."""
        folder = make_folder(self.root / "bytes", vocabulary=258)
        text = "né→a né→a"
        (self.root / "text").write_text(text)
        tensors, _ = self.made(tokenizer=folder, sequences=1, tokens=14)
        self.assertEqual(
            tensors["token_ends"].tolist(), [1, 3, 3, 6, 6, 6, 7, 8, 9, 11, 11, 14, 14, 14]
        )

    def test_a_sequence_starts_where_the_one_before_it_ended(self):
        tensors, _ = self.made(sequences=10)
        text = self.documents[0].strip("\n")
        own = [i for i in range(10) if tensors["document_ids"][i] == 0]
        pieces = [tensors["token_ids"][24 * i : 24 * i + 24] for i in own]
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        places = []
        for i, piece in zip(own, pieces):
            decoded = tokenizer.decode(piece.tolist())
            self.assertEqual(tensors["token_ends"][24 * i + 23], len(decoded.encode()))
            places.append((text.index(decoded), len(decoded)))
        places.sort()
        self.assertEqual(places[0][0], 0)
        for (begin, length), (following, _) in zip(places, places[1:]):
            self.assertEqual(begin + length, following)

    def test_ends_never_decrease_where_a_post_processor_trims_spans(self):
        folder = make_folder(self.root / "trim", trim=True)
        (self.root / "text").write_text("the   \n\n  cache  of\n\n\n a   model  ")
        tensors, _ = self.made(tokenizer=folder, sequences=1, tokens=12)
        self.assertTrue((numpy.diff(tensors["token_ends"]) >= 0).all())

    def test_bos_starts_every_sequence_and_ends_at_0(self):
        folder = make_folder(self.root / "bos", with_bos=True)
        tensors, _ = self.made(tokenizer=folder)
        starts = tensors["sequence_offsets"][:-1]
        self.assertEqual(set(tensors["token_ids"][starts].tolist()), {0})
        self.assertEqual(set(tensors["token_ends"][starts].tolist()), {0})
        self.assertTrue((tensors["token_ends"][starts + 1] > 0).all())

    def test_two_tokenisers_read_the_same_text(self):
        other = make_folder(self.root / "two", vocabulary=270, split=False, with_bos=True)
        tensors, metadata = self.made(tokenizer=None, sender=other, receiver=self.folder)
        one, _ = self.made()
        self.assertNotEqual(metadata["tokenizers"]["sender"], metadata["tokenizers"]["receiver"])
        for name in ("token_ids", "token_ends", "sequence_offsets"):
            self.assertEqual(tensors[f"receiver.{name}"].tolist(), one[name].tolist())
        backends = [
            Tokenizer.from_file(str(path / "tokenizer.json")) for path in (other, self.folder)
        ]
        for i in range(8):
            texts, last_ends = [], []
            for backend, side in zip(backends, ("sender", "receiver")):
                begin, end = tensors[f"{side}.sequence_offsets"][i : i + 2]
                texts.append(backend.decode(tensors[f"{side}.token_ids"][begin:end].tolist()))
                last_ends.append(tensors[f"{side}.token_ends"][end - 1])
            self.assertEqual(texts[0], texts[1])
            self.assertEqual(last_ends, [len(texts[0].encode())] * 2)

    def test_equal_tokenisers_in_two_folders_are_one(self):
        copy = make_folder(self.root / "copy")
        tensors, _ = self.made(tokenizer=None, sender=copy, receiver=self.folder)
        self.assertIn("token_ids", tensors)

    def test_labels_follow_their_documents(self):
        lines = [json.dumps({"alarm": i % 2 == 0, "code": 10 + i}) for i in range(5)]
        (self.root / "labels").write_text("\n".join(lines))
        tensors, metadata = self.made(labels=self.root / "labels", label_field="code")
        self.assertEqual(tensors["labels"].tolist(), (10 + tensors["document_ids"]).tolist())
        self.assertEqual(metadata["source"]["labels"]["field"], "code")

    def chat(self):
        lines = [
            {"messages": [{"role": "user", "content": text_of(14 + i, i) + " ü"}]}
            for i in range(4)
        ]
        (self.root / "chat").write_text("\n".join(json.dumps(line) for line in lines))
        return {"input": self.root / "chat", "format": "chat", "sequences": 4, "tokens": 200}

    def test_chat_goes_through_the_template(self):
        tensors, metadata = self.made(**self.chat())
        first = tensors["document_ids"].tolist().index(0)
        begin, end = tensors["sequence_offsets"][first : first + 2]
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        text = tokenizer.decode(tensors["token_ids"][begin:end].tolist(), skip_special_tokens=False)
        self.assertTrue(text.startswith('user: {"role": "user", "content": "'), text)
        self.assertTrue(text.endswith(' ü"}</s>\n'), text)
        self.assertEqual(len(metadata["documents"]), 4)

    @unittest.skipUnless(transformers, "run scripts/setup_capture.sh for the comparison")
    def test_ids_plan_and_hash_are_those_of_capture(self):
        from capture import models as capture_models

        for with_bos in (False, True):
            folder = make_folder(self.root / f"like-{with_bos}", with_bos=with_bos)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            self.assertEqual(
                capture_models.tokenizer_digest(tokenizer), tokens.TextTokenizer(folder).digest
            )
            for changes in ({}, {"seed": 7, "tokens": 17}, self.chat()):
                tensors, metadata = self.made(tokenizer=folder, **changes)
                options = tokenise.parse(self.arguments(tokenizer=folder, **changes))
                cutter = inputs.Cutter(tokenizer, options.tokens, options.format)
                plan = inputs.plan_sequences(options, cutter)
                self.assertEqual(
                    [token for sequence in plan.sequences for token in sequence.tokens],
                    tensors["token_ids"].tolist(),
                )
                self.assertEqual(
                    [sequence.document for sequence in plan.sequences],
                    tensors["document_ids"].tolist(),
                )
                self.assertEqual(plan.documents, metadata["documents"])

    def assert_refused(self, text, code=1, **changes):
        got, errors = self.run_script(**changes)
        self.assertEqual(got, code, errors)
        self.assertIn(text, errors)
        self.assertFalse((self.root / "tokens.safetensors").exists())

    def test_refuses_a_folder_without_a_tokeniser(self):
        self.assert_refused("with tokenizer.json, found none", tokenizer=self.root)
        (self.root / "tokenizer.json").write_text("{}")
        self.assert_refused("the tokenizers package cannot load it", tokenizer=self.root)

    def test_refuses_a_broken_tokenizer_config(self):
        (self.folder / "tokenizer_config.json").write_text("{")
        self.assert_refused("tokenizer_config.json: not JSON")

    def test_refuses_chats_without_a_template_or_with_one_that_fails(self):
        chat = self.chat()
        without = make_folder(self.root / "without", template=None)
        self.assert_refused("expected a chat template", tokenizer=without, **chat)
        failing = make_folder(self.root / "f", template="{{ raise_exception('no system') }}")
        self.assert_refused("its chat template fails: no system", tokenizer=failing, **chat)

    def test_refuses_too_little_text(self):
        self.assert_refused("expected 500 sequences of 24 tokens", sequences=500)

    def test_refuses_missing_input(self):
        self.assert_refused("no such file or folder", input=self.root / "nowhere")

    def test_refuses_labels_that_do_not_fit(self):
        labels = self.root / "labels"
        labels.write_text('{"code": 1}\n' * 4)
        fitting = {"labels": labels, "label_field": "code"}
        self.assert_refused("expected one line a document, 5 in all, got 4", **fitting)
        labels.write_text('{"code": 1}\n' * 4 + '{"code": "two"}\n')
        self.assert_refused(":5: code: expected a whole number from 0, got 'two'", **fitting)
        labels.write_text('{"cod": 1}\n')
        self.assert_refused("code is missing", **fitting)

    def test_refuses_a_sender_that_makes_no_token(self):
        silent = make_folder(self.root / "silent")
        content = json.loads((silent / "tokenizer.json").read_text())
        content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "."}, "content": ""}
        (silent / "tokenizer.json").write_text(json.dumps(content))
        self.assert_refused(
            "the sender's tokenizer makes no token", tokenizer=None, sender=silent,
            receiver=self.folder,
        )  # fmt: skip

    def test_refuses_arguments_that_do_not_fit_together(self):
        both = "expected --tokenizer DIR, or --sender DIR and --receiver DIR"
        self.assert_refused(both, code=2, tokenizer=None)
        self.assert_refused(both, code=2, sender=self.folder)
        self.assert_refused(both, code=2, tokenizer=None, sender=self.folder)
        self.assert_refused("expected both or neither", code=2, label_field="code")
        self.assert_refused("--shares: expected 1 positive numbers", code=2, shares="1,2")


if __name__ == "__main__":
    unittest.main()
