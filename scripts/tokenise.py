#!/usr/bin/env python3
"""Cuts text into the token sequences that `kvalign capture` and `kvalign eval` read.

    tokenise.py --tokenizer DIR --input FILE --output FILE --sequences N ...
    tokenise.py --sender DIR --receiver DIR ...        two models with different tokenisers

Needs the packages `tokenizers` and `safetensors`, not torch. With one tokeniser the sequences are
those that capture_hf.py makes of the same arguments. With two, the receiver's tokens decide where a
sequence ends, and the sender tokenises the same text. The file's layout:
include/kvalign/dataset/token_file.h.
"""

import argparse
import pathlib
import shlex
import sys

import numpy

from capture import VERSION, CaptureError, files, inputs, pieces, tokens


class PieceCutter(inputs.Cutter):
    """Cuts as inputs.Cutter does and keeps each sequence's text. A sequence's text begins where the
    one before it ended, so that nothing between two tokens is lost."""

    def cut(self, document):
        text = self.text_of(document)
        encoding = self._tokenizer(text, add_special_tokens=False)
        result = []
        for begin, end in self.cuts(encoding.input_ids):
            first = encoding.ends[begin - 1] if begin else 0
            last = encoding.ends[end - 1]
            ends = [place - first for place in encoding.ends[begin:end]]
            piece = text[first:last]
            result.append(
                (
                    self._prefix + encoding.input_ids[begin:end],
                    pieces.Piece(piece, [0] * len(self._prefix) + pieces.byte_ends(piece, ends)),
                )
            )
        return result


def read_labels(path, field, num_documents):
    """One whole number from 0 a document, in the order of the documents."""
    labels = []
    for number, value in inputs.read_jsonl(path, (field,)):
        labels.append(inputs.label_of(path, number, value, field))
    if len(labels) != num_documents:
        raise CaptureError(
            f"{path}: expected one line a document, {num_documents} in all, got {len(labels)}. "
            "Were the labels made with this text?"
        )
    return labels


class TokenFile:
    """One command: the plan by the receiver's tokeniser, and what the sender makes of its text."""

    def __init__(self, options):
        self._options = options
        self._receiver = tokens.TextTokenizer(options.receiver)
        self._sender = tokens.TextTokenizer(options.sender)
        cutter = PieceCutter(self._receiver, options.tokens, options.format)
        self._plan = inputs.plan_sequences(options, cutter)

    def _tensors(self):
        sequences = self._plan.sequences
        received = [(sequence.tokens, sequence.item.ends) for sequence in sequences]
        if self._sender.digest == self._receiver.digest:
            result = pieces.packed("", received)
        else:
            sent = [pieces.sender_tokens(self._sender, sequence.item) for sequence in sequences]
            result = pieces.packed("sender.", sent) | pieces.packed("receiver.", received)
        documents = [sequence.document for sequence in sequences]
        result["document_ids"] = numpy.array(documents, numpy.int64)
        if self._options.labels:
            labels = read_labels(
                self._options.labels, self._options.label_field, len(self._plan.documents)
            )
            result["labels"] = numpy.array([labels[one] for one in documents], numpy.int64)
        return result

    def _metadata(self):
        source = inputs.describe(self._options) | {
            "tokenizers": tokens.tokenizers.__version__,
            "command": shlex.join(["tokenise.py", *self._options.arguments]),
        }
        if self._options.labels:
            source["labels"] = {
                "name": self._options.labels.name,
                "sha256": files.sha256_of(self._options.labels),
                "field": self._options.label_field,
            }
        return {
            "schema": 1,
            "created_by": f"tokenise.py {VERSION}",
            "tokenizers": {"sender": self._sender.digest, "receiver": self._receiver.digest},
            "documents": self._plan.documents,
            "source": source,
        }

    def write(self):
        """Returns the number of sequences and of the receiver's tokens."""
        pieces.save(self._options.output, self._tensors(), self._metadata())
        return len(self._plan.sequences), self._plan.num_tokens


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pieces.add_tokenizer_arguments(parser)
    inputs.add_arguments(parser, ("text", "chat"))
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument(
        "--labels",
        type=pathlib.Path,
        metavar="JSONL",
        help="one object a document, in order; needs --label-field",
    )
    parser.add_argument("--label-field", metavar="NAME", help="key of the label, a class from 0")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    inputs.check_arguments(parser, options)
    if bool(options.labels) != bool(options.label_field):
        parser.error("--labels and --label-field: expected both or neither")
    pieces.check_tokenizer_arguments(parser, options)
    return options


def main(arguments=None):
    options = parse(arguments)
    try:
        num_sequences, num_tokens = TokenFile(options).write()
    except CaptureError as error:
        print(f"tokenise: {error}", file=sys.stderr)
        return 1
    print(
        f"tokenise: wrote {options.output}: {num_sequences} sequences, {num_tokens} tokens",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
