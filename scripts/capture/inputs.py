"""Text, chats or image-text pairs -> token sequences, each tagged with its document. No torch.

A document is what a train/held-out split must not cut through. Text files: pieces between
lines "<|endoftext|>", else articles of a wikitext file (lines like " = Title = "), else the whole
file; a folder: one document a file. Chat and image-text: JSONL, one document a line; image-text
lines with the same "document" (the frames of one clip) are one document.
"""

import argparse
import dataclasses
import hashlib
import itertools
import json
import pathlib
import random
import re

from . import CaptureError
from .files import sha256_of

WIKITEXT_TITLE = re.compile(r"^ = [^=].* = ?$", re.MULTILINE)
END_OF_TEXT = re.compile(r"^<\|endoftext\|>[ \t]*$", re.MULTILINE)
SHORTEST = 16  # a chat or image-text sequence below this says little and is dropped


@dataclasses.dataclass
class Sequence:
    tokens: list  # token ids, BOS included where the tokenizer adds one
    document: int  # dataset-wide id
    item: object = None  # what the cutter adds; image-text: {"image", "text"} and maybe "label"


@dataclasses.dataclass
class Plan:
    sequences: list  # in the order they are run
    documents: list  # SHA-256 of every document of the input, by id

    @property
    def num_tokens(self):
        return sum(len(sequence.tokens) for sequence in self.sequences)


def add_arguments(parser, formats):
    """The arguments that decide the plan."""
    parser.add_argument(
        "--input",
        required=True,
        action="append",
        metavar="PATH",
        help="file or folder; may be repeated",
    )
    parser.add_argument(
        "--shares",
        type=lambda text: [float(part) for part in text.split(",")],
        metavar="A,B,..",
        help="share of the sequences from each --input (default: all documents in one pool)",
    )
    parser.add_argument("--format", choices=formats, default="text")
    parser.add_argument("--sequences", required=True, type=positive, metavar="N")
    parser.add_argument(
        "--tokens", type=positive, default=256, help="tokens a sequence (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="order of documents and sequences (default: %(default)s)",
    )


def check_arguments(parser, options):
    if options.shares and (len(options.shares) != len(options.input) or min(options.shares) <= 0):
        parser.error(
            f"--shares: expected {len(options.input)} positive numbers, one for each --input, got "
            f"{options.shares}"
        )


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text}")
    return value


def describe(options):
    """What a dataset or token file records of its input."""
    return {
        "inputs": [
            {"name": pathlib.Path(path).name, "sha256": digest(path)} for path in options.input
        ],
        "format": options.format,
        "shares": options.shares,
        "seed": options.seed,
        "tokens": options.tokens,
    }


def read_utf8(path):
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CaptureError(f"--input {path}: no such file or folder") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CaptureError(
            f"--input {path}: expected UTF-8 text, got byte {error.object[error.start]:#x} at "
            f"offset {error.start}, line {line}"
        ) from error


def split_text(text):
    """Documents of one text file, by the first rule that finds a boundary."""
    if END_OF_TEXT.search(text):
        pieces = END_OF_TEXT.split(text)
    elif WIKITEXT_TITLE.search(text):
        starts = [match.start() for match in WIKITEXT_TITLE.finditer(text)]
        pieces = [text[begin:end] for begin, end in zip([0] + starts, starts + [len(text)])]
    else:
        pieces = [text]
    return [piece.strip("\n") for piece in pieces if piece.strip()]


def files_of(path):
    """The files of an input, sorted; a folder is walked, hidden files left out."""
    path = pathlib.Path(path)
    if not path.is_dir():
        return [path]
    files = sorted(
        file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")
    )
    if not files:
        raise CaptureError(f"--input {path}: the folder holds no files")
    return files


def read_jsonl(path, required):
    """Objects of a JSONL file; each must have the required keys."""
    for number, line in enumerate(read_utf8(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise CaptureError(f"{path}:{number}: not JSON ({error})") from error
        missing = [key for key in required if not isinstance(value, dict) or key not in value]
        if missing:
            raise CaptureError(
                f"{path}:{number}: expected an object with {', '.join(required)}; "
                f"{', '.join(missing)} is missing"
            )
        yield number, value


def label_of(path, number, value, field):
    """The class that line `number` of a JSONL file gives in `field`."""
    label = value[field]
    if not isinstance(label, int) or label < 0:
        raise CaptureError(
            f"{path}:{number}: {field}: expected a whole number from 0, got {label!r}"
        )
    return int(label)


def read_image_texts(path, label_field):
    """Items of an image-text file, each with its document's name (None: it is one of its own)."""
    required = ("image", "text") + ((label_field,) if label_field else ())
    for number, value in read_jsonl(path, required):
        for key in ("image", "text", "document"):
            if key in value and not isinstance(value[key], str):
                raise CaptureError(f"{path}:{number}: {key}: expected a text, got {value[key]!r}")
        image = path.parent / value["image"]
        if not image.is_file():
            raise CaptureError(f"{path}:{number}: image {image} does not exist")
        item = {"image": str(image), "text": value["text"]}
        if label_field:
            item["label"] = label_of(path, number, value, label_field)
        yield value.get("document"), item


def read_documents(path, kind, label_field=None):
    """Documents of one --input: strings (text), message lists (chat) or {"name", "items"}
    (image-text)."""
    documents, named = [], {}
    for file in files_of(path):
        if kind == "text":
            pieces = split_text(read_utf8(file))
            documents += (
                pieces if not pathlib.Path(path).is_dir() else ["\n".join(pieces)] if pieces else []
            )
        elif kind == "chat":
            documents += [value["messages"] for _, value in read_jsonl(file, ("messages",))]
        else:
            for name, item in read_image_texts(file, label_field):
                if name in named:
                    named[name]["items"].append(item)
                    continue
                documents.append({"name": name, "items": [item]})
                if name is not None:
                    named[name] = documents[-1]
    if not documents:
        raise CaptureError(f"--input {path}: no {kind} documents found")
    return documents


def digest(path):
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    files = files_of(path)
    if not pathlib.Path(path).is_dir():
        return hashlib.sha256(files[0].read_bytes()).hexdigest()
    total = hashlib.sha256()
    for file in files:
        total.update(
            str(file.relative_to(path)).encode()
            + b"\0"
            + hashlib.sha256(file.read_bytes()).digest()
        )
    return total.hexdigest()


def document_digest(document, kind):
    """SHA-256 by which a document is known again, whatever it was cut or tokenised into."""
    if kind == "image-text":
        if document["name"] is not None:
            # By name: two samples of one clip must be known for one, whatever frames they took.
            document = {"document": document["name"]}
        else:
            (item,) = document["items"]
            document = {"image": sha256_of(item["image"]), "text": item["text"]}
    text = document if kind == "text" else json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Cutter:
    """Cuts documents into consecutive sequences of `num_tokens`, each a prefill of its own.

    Where the tokenizer puts a BOS before a text, every sequence starts with it. The rest of a text
    that does not fill a sequence is dropped; a chat or an image-text item may be one shorter
    sequence.
    """

    def __init__(self, tokenizer, num_tokens, kind, encode_item=None):
        self._tokenizer, self._num_tokens, self._kind, self._encode_item = (
            tokenizer,
            num_tokens,
            kind,
            encode_item,
        )
        special = tokenizer("").input_ids
        self._prefix = special[:1] if special and special[0] == tokenizer.bos_token_id else []

    def cut(self, document):
        """(tokens, item) of every sequence."""
        if self._kind == "image-text":
            return self._encoded(document["items"])
        tokens = self._tokenizer(self.text_of(document), add_special_tokens=False).input_ids
        return [(self._prefix + tokens[begin:end], None) for begin, end in self.cuts(tokens)]

    def _encoded(self, items):
        """One at a time as they are asked for: a clip has more frames than a capture may want."""
        for item in items:
            tokens = self._encode_item(item)
            # An image must not be cut in two, so a pair is one sequence or none.
            if SHORTEST <= len(tokens) <= self._num_tokens:
                yield tokens, item

    def text_of(self, document):
        """The text that is tokenised; a chat becomes one by its template."""
        if self._kind == "chat":
            return self._tokenizer.apply_chat_template(document, tokenize=False)
        return document

    def cuts(self, tokens):
        """(begin, end) of every sequence, in tokens of the document."""
        first = 1 if self._prefix and tokens[:1] == self._prefix else 0
        step = self._num_tokens - len(self._prefix)
        shortest = self._num_tokens if self._kind == "text" else min(SHORTEST, self._num_tokens)
        for begin in range(first, len(tokens), step):
            end = min(begin + step, len(tokens))
            if len(self._prefix) + end - begin >= shortest:
                yield begin, end


def take_sequences(documents, first_id, cutter, wanted, generator):
    """Up to `wanted` sequences: the first of every document in random order, then the second of
    every one, ...

    So a small capture still sees many documents, and a split by document stays fine-grained.
    """
    order = list(range(len(documents)))
    generator.shuffle(order)
    pieces, taken = {}, []
    while len(taken) < wanted:
        before = len(taken)
        for index in order:
            if index not in pieces:
                pieces[index] = iter(cutter.cut(documents[index]))
            for tokens, item in itertools.islice(pieces[index], 1):
                taken.append(Sequence(tokens, first_id + index, item))
            if len(taken) == wanted:
                break
        if len(taken) == before:
            break
    return taken


def check_names(paths, groups):
    """Refuses a named document that is in two inputs: a split would take it for two."""
    seen = {}
    for path, documents in zip(paths, groups):
        for name in (one["name"] for one in documents if one["name"] is not None):
            if name in seen:
                raise CaptureError(
                    f"--input {path}: document {name!r} is also in --input {seen[name]}; make both "
                    "files in one folder and give the folder"
                )
            seen[name] = path


def plan_sequences(options, cutter):
    """The sequences of the whole capture in the order they are run: shuffled, so that any shard is
    a sample of all. -> Plan"""
    generator = random.Random(options.seed)
    shares = options.shares or [1.0]
    groups = [
        read_documents(path, options.format, options.label_field) for path in options.input
    ]
    if options.format == "image-text":
        check_names(options.input, groups)
        for document in itertools.chain(*groups):
            # So that a few sequences of a clip are not all from its beginning.
            generator.shuffle(document["items"])
    if not options.shares:
        groups = [[document for group in groups for document in group]]
    sequences, first_id = [], 0
    remaining, total = options.sequences, sum(shares)
    for index, documents in enumerate(groups):
        wanted = (
            remaining
            if index == len(groups) - 1
            else round(options.sequences * shares[index] / total)
        )
        taken = take_sequences(documents, first_id, cutter, wanted, generator)
        if len(taken) < wanted:
            remedy = (
                "Lower --sequences, add pairs, or raise --tokens where a pair has more."
                if options.format == "image-text"
                else "Lower --sequences or --tokens, or add text."
            )
            where = options.input[index] if options.shares else " ".join(options.input)
            raise CaptureError(
                f"--input {where}: expected {wanted} sequences of {options.tokens} tokens, its "
                f"{len(documents)} "
                f"documents give {len(taken)}. {remedy}"
            )
        sequences += taken
        remaining -= wanted
        first_id += len(documents)
    generator.shuffle(sequences)
    hashes = [document_digest(document, options.format) for group in groups for document in group]
    return Plan(sequences, hashes)
