#!/usr/bin/env python3
"""Makes of labelled texts a task file: what `kvalign eval` asks both models about each text.

    task_file.py --tokenizer DIR --input FILE --text-field NAME --label-field NAME
        --question TEXT --held-out N --output FILE ...
    task_file.py --sender DIR --receiver DIR ...       two models with different tokenisers

The sender reads a text; the receiver sees its cache and the question, and answers with the class
whose answer it finds most likely. A text of the input counts once, so that no duplicate of a
held-out text is elsewhere; texts with two labels are dropped. What is not held out is only counted
here: scripts/task_baselines.py trains on it. Layout of the file:
include/kvalign/dataset/task_file.h.
"""

import argparse
import pathlib
import shlex
import sys

import numpy

from capture import VERSION, CaptureError, inputs, labelled, pieces, tokens


class TaskFile:
    """One command: held-out texts, question and answers in the tokens of both models."""

    def __init__(self, options):
        self._options = options
        self._receiver = tokens.TextTokenizer(options.receiver)
        self._sender = tokens.TextTokenizer(options.sender)
        labels = list(options.classes) if options.classes else None
        self._source = labelled.Source(
            options.input, options.format, options.text_field, options.label_field
        )
        self._all = labelled.read_examples(self._source, labels)
        space = "" if options.question.endswith("\n") else " "
        self._answers = [
            space + (options.classes or {}).get(label, label) for label in self._all.classes
        ]
        self._held_out = self._choose()

    def _choose(self):
        short = self._all.examples
        limit = self._options.max_tokens
        if limit:
            short = [e for e in short if len(self._received(e)[0]) <= limit]
            self._all.dropped["too_long_to_hold_out"] = len(self._all.examples) - len(short)
        try:
            return labelled.hold_out(
                short, len(self._all.classes), self._options.held_out, self._options.seed
            )
        except CaptureError as error:
            raise CaptureError(f"{self._options.input}: {error}") from error

    def _received(self, example):
        """(ids, ends) as the receiver's tokeniser has it."""
        return self._piece(example)[:2]

    def _piece(self, example):
        text = self._options.before + example.text
        encoding = self._receiver(text, add_special_tokens=False)
        prefix = self._receiver.prefix
        ends = [0] * len(prefix) + pieces.byte_ends(text, encoding.ends)
        return prefix + encoding.input_ids, ends, pieces.Piece(text, ends)

    def _words(self, tokenizer):
        """Question and answers as one side's tensors: a text goes on with them, without a BOS."""
        ids = [
            tokenizer(text, add_special_tokens=False).input_ids
            for text in (self._options.question, *self._answers)
        ]
        for text, tokens_of_text in zip((self._options.question, *self._answers), ids):
            if not tokens_of_text:
                raise CaptureError(f"{tokenizer.folder}: the tokenizer makes no token of {text!r}")
        question, *answers = ids
        if len(set(map(tuple, answers))) < len(answers):
            raise CaptureError(
                f"{tokenizer.folder}: expected another answer for each class, got the same tokens "
                f"for two of {self._answers}. Give answers in --classes: label=answer,.."
            )
        return {
            "question.token_ids": numpy.array(question, numpy.int32),
            "answers.token_ids": numpy.concatenate(answers).astype(numpy.int32),
            "answers.offsets": numpy.cumsum([0] + [len(a) for a in answers]).astype(numpy.int64),
        }

    def _tensors(self):
        read = [self._piece(example) for example in self._held_out]
        received = [(ids, ends) for ids, ends, _ in read]
        if self._sender.digest == self._receiver.digest:
            result = pieces.packed("", received) | self._words(self._receiver)
        else:
            sent = [pieces.sender_tokens(self._sender, piece) for _, _, piece in read]
            result = pieces.packed("sender.", sent) | pieces.packed("receiver.", received)
            for side, tokenizer in (("sender", self._sender), ("receiver", self._receiver)):
                result |= {f"{side}.{name}": v for name, v in self._words(tokenizer).items()}
        result["document_ids"] = numpy.arange(len(read), dtype=numpy.int64)
        result["labels"] = numpy.array([e.label for e in self._held_out], numpy.int64)
        return result

    def _train_label_counts(self):
        held_out = {id(example) for example in self._held_out}
        counts = [0] * len(self._all.classes)
        for example in self._all.examples:
            counts[example.label] += id(example) not in held_out
        return counts

    def _metadata(self):
        options = self._options
        return {
            "schema": 1,
            "created_by": f"task_file.py {VERSION}",
            "tokenizers": {"sender": self._sender.digest, "receiver": self._receiver.digest},
            "documents": [example.digest for example in self._held_out],
            "task": {
                "question": options.question,
                "classes": self._all.classes,
                "answers": self._answers,
                "train_label_counts": self._train_label_counts(),
            },
            "source": {
                "input": self._source.describe(),
                "before": options.before,
                "held_out": options.held_out,
                "max_tokens": options.max_tokens,
                "seed": options.seed,
                "dropped": self._all.dropped,
                "tokenizers": tokens.tokenizers.__version__,
                "command": shlex.join(["task_file.py", *options.arguments]),
            },
        }

    def write(self):
        """Returns a sentence about the file."""
        pieces.save(self._options.output, self._tensors(), self._metadata())
        dropped = ", ".join(f"{count} {why}" for why, count in self._all.dropped.items() if count)
        return (
            f"{len(self._held_out)} held-out texts of {len(self._all.classes)} classes; "
            f"{sum(self._train_label_counts())} others; dropped: {dropped or 'none'}"
        )


def parse_classes(text):
    """ "a,b=some words" -> {"a": "a", "b": "some words"}: label -> answer."""
    classes = {}
    for part in text.split(","):
        label, _, answer = part.partition("=")
        if not label.strip() or label.strip() in classes:
            raise argparse.ArgumentTypeError(
                f"expected different labels, each a label or label=answer, got {text!r}"
            )
        classes[label.strip()] = answer.strip() or label.strip()
    return classes


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pieces.add_tokenizer_arguments(parser)
    parser.add_argument("--input", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument(
        "--format", choices=labelled.FORMATS, help="default: by the ending of --input"
    )
    parser.add_argument(
        "--text-field", required=True, metavar="NAME", help="column or key, or a column's number"
    )
    parser.add_argument("--label-field", required=True, metavar="NAME", help="likewise")
    parser.add_argument(
        "--classes",
        type=parse_classes,
        metavar="A,B=ANSWER,..",
        help="labels that count, each with the words that say it (default: all, each by itself)",
    )
    parser.add_argument(
        "--before",
        default="",
        metavar="TEXT",
        help="stands before each text. With as many tokens as there are sinks, exact sinks tell "
        "the receiver nothing of the text",
    )
    parser.add_argument(
        "--question",
        required=True,
        metavar="TEXT",
        help="comes after the text; \\n is a line break. Answers follow after a space, or at once "
        "where it ends with a line break, as a chat template's last turn does",
    )
    held_out = parser.add_mutually_exclusive_group(required=True)
    held_out.add_argument("--held-out", type=inputs.positive, metavar="N", help="texts in all")
    held_out.add_argument(
        "--held-out-per-class", type=inputs.positive, metavar="N", help="texts of each class"
    )
    parser.add_argument(
        "--max-tokens", type=inputs.positive, metavar="N", help="longer texts are not held out"
    )
    parser.add_argument("--seed", type=int, default=1, help="which texts, in which order")
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    pieces.check_tokenizer_arguments(parser, options)
    options.format = options.format or options.input.suffix[1:]
    if options.format not in labelled.FORMATS:
        parser.error(f"--format: expected one of {', '.join(labelled.FORMATS)} for {options.input}")
    for name in ("before", "question"):
        setattr(options, name, getattr(options, name).replace("\\n", "\n"))
    per_class = options.held_out_per_class
    options.held_out = {"texts_per_class": per_class} if per_class else {"texts": options.held_out}
    return options


def main(arguments=None):
    options = parse(arguments)
    try:
        done = TaskFile(options).write()
    except CaptureError as error:
        print(f"task_file: {error}", file=sys.stderr)
        return 1
    print(f"task_file: wrote {options.output}: {done}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
