"""What token files and task files have in common: which tokenisers, the text of a sequence in the
tokens of both models, and how tensors and metadata are written. Needs no torch.
"""

import dataclasses
import json

import numpy
import safetensors.numpy

from . import CaptureError, files


@dataclasses.dataclass
class Piece:
    """The text of one sequence and the receiver's token ends in it."""

    text: str
    ends: list  # UTF-8 bytes from the start of `text`


def byte_ends(text, char_ends):
    """Ends in characters -> ends in UTF-8 bytes, by one walk over the text.

    A token that holds part of a character ends with that character.
    """
    result, char_place, byte_place = [], 0, 0
    for end in char_ends:
        byte_place += len(text[char_place:end].encode())
        char_place = end
        result.append(byte_place)
    return result


def sender_tokens(tokenizer, piece):
    """(ids, byte ends) of the receiver's piece in the sender's tokens."""
    encoding = tokenizer(piece.text, add_special_tokens=False)
    if not encoding.input_ids:
        raise CaptureError(
            f"{tokenizer.folder}: the sender's tokenizer makes no token of the text "
            f"{piece.text[:40]!r}; it has nothing to send"
        )
    prefix = tokenizer.prefix
    ends = [0] * len(prefix) + byte_ends(piece.text, encoding.ends)
    ends[-1] = piece.ends[-1]  # what a normaliser strips from the end belongs to the last token
    return prefix + encoding.input_ids, ends


def packed(prefix, sequences):
    """The three tensors of one side: [(ids, ends)] -> {name: array}."""
    offsets = numpy.cumsum([0] + [len(ids) for ids, _ in sequences]).astype(numpy.int64)
    return {
        f"{prefix}token_ids": numpy.concatenate([ids for ids, _ in sequences]).astype(numpy.int32),
        f"{prefix}token_ends": numpy.concatenate([ends for _, ends in sequences]).astype(
            numpy.int32
        ),
        f"{prefix}sequence_offsets": offsets,
    }


def save(path, tensors, metadata):
    """Writes the file in one step; `metadata` becomes its entry `kvalign`."""
    text = json.dumps(metadata, ensure_ascii=False)
    data = safetensors.numpy.save(tensors, metadata={"kvalign": text})
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, data)


def add_tokenizer_arguments(parser):
    parser.add_argument(
        "--tokenizer", metavar="DIR", help="Hugging Face folder of the tokeniser of both models"
    )
    parser.add_argument("--sender", metavar="DIR", help="folder of the sender, with --receiver")
    parser.add_argument("--receiver", metavar="DIR", help="folder of the receiver, with --sender")


def check_tokenizer_arguments(parser, options):
    """Fills in both sides where one tokeniser is given for both."""
    if options.tokenizer and not options.sender and not options.receiver:
        options.sender = options.receiver = options.tokenizer
    elif options.tokenizer or not options.sender or not options.receiver:
        parser.error("expected --tokenizer DIR, or --sender DIR and --receiver DIR")
