#!/usr/bin/env python3
"""Captures paired KV caches of two Hugging Face models on the same tokens into a kvalign dataset.

    capture_hf.py --sender DIR --receiver DIR --input FILE --output DIR --sequences N ...

Keys are stored without RoPE, removed with each model's own cos and sin; how is proved by experiment
when a model is loaded. Inputs: text (a file or a folder of files), chat (JSONL with "messages",
through the chat template) or image-text (JSONL with "image" and "text", through the processor;
annotations.py makes such files of COCO, VIRAT and ActEV annotations, with labels). Run the same
command again to resume. Only prepares inputs: training and evaluation never need Python.
"""

import argparse
import hashlib
import json
import pathlib
import shlex
import sys
import time
import types

import torch
import transformers

from capture import VERSION, CaptureError, inputs, models, store
from capture.files import sha256_of

ROLES = ("sender", "receiver")
NUM_SINKS = 4  # attention-sink tokens recorded in the index; loaders may leave them out
NORM_POSITIONS = 8  # mean key norms are recorded for these first positions, to check NUM_SINKS by


class Progress:
    """Tokens done on stderr: a bar on a terminal, else a line every 30 seconds."""

    def __init__(self, total_tokens):
        self._total, self._done, self._start, self._last = total_tokens, 0, time.monotonic(), 0.0
        self._terminal = sys.stderr.isatty()

    def add(self, tokens):
        self._done += tokens
        now = time.monotonic()
        if self._done < self._total and now - self._last < (0.2 if self._terminal else 30):
            return
        self._last = now
        rate = self._done / max(now - self._start, 1e-9)
        left = (self._total - self._done) / rate
        bar = "#" * (30 * self._done // self._total)
        line = (
            f"capture [{bar:<30}] {self._done}/{self._total} tokens  "
            f"{rate:.1f} tokens/s  {left / 60:.1f} min left"
        )
        print(
            f"\r{line}" if self._terminal else line,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def close(self):
        if self._terminal:
            print(file=sys.stderr)


def batches(sequences, batch_size):
    """Model inputs and the sequences in them. Image-text pairs run one at a time."""
    step = 1 if sequences[0].item else batch_size
    for begin in range(0, len(sequences), step):
        yield sequences[begin : begin + step]


def model_inputs(batch, encoder):
    if encoder is None:
        longest = max(len(sequence.tokens) for sequence in batch)
        return {
            "input_ids": torch.tensor(
                [sequence.tokens + [0] * (longest - len(sequence.tokens)) for sequence in batch]
            )
        }
    encoded = encoder.encode(batch[0].item)
    if encoded["input_ids"][0].tolist() != batch[0].tokens:
        raise CaptureError(
            f"{batch[0].item['image']}: the receiver's processor makes other tokens of it than the "
            "sender's "
            f"({encoded['input_ids'].shape[1]} against {len(batch[0].tokens)}); the two caches "
            "have no common tokens"
        )
    return encoded


def capture_shard(model, role, sequences, options, encoder, progress):
    """One model's tensors of a shard, {name: [tokens, num_kv_heads, head_dim]}, and its key norms
    by position."""
    geometry, dtype = model.geometry, getattr(torch, options.dtype)
    shape = (
        sum(len(sequence.tokens) for sequence in sequences),
        geometry["num_kv_heads"],
        geometry["head_dim"],
    )
    names = [
        f"{role}.{kind}.{layer}"
        for layer in range(geometry["num_layers"])
        for kind in ("keys", "values")
    ]
    tensors = {name: torch.empty(shape, dtype=dtype) for name in names}
    sums = torch.zeros(
        2, NORM_POSITIONS + 1, dtype=torch.float64
    )  # norms and counts; the last place: all later positions
    start = 0
    for batch in batches(sequences, options.batch_size):
        layers = model.run(model_inputs(batch, encoder))
        for row, sequence in enumerate(batch):
            count = len(sequence.tokens)
            for layer, (keys, values) in enumerate(layers):
                keys_TNH = keys[row, :, :count].transpose(0, 1)
                tensors[f"{role}.keys.{layer}"][start : start + count] = keys_TNH
                tensors[f"{role}.values.{layer}"][start : start + count] = values[
                    row, :, :count
                ].transpose(0, 1)
                place = torch.arange(count).clamp(max=NORM_POSITIONS)
                sums[0].index_add_(0, place, keys_TNH.norm(dim=-1).mean(dim=-1).double().cpu())
                sums[1].index_add_(0, place, torch.ones(count, dtype=torch.float64))
            start += count
        progress.add(sum(len(sequence.tokens) for sequence in batch))
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CaptureError(
                f"tensor {name} is not finite as {options.dtype} (largest float16 is 65504); use "
                "--dtype bfloat16 or float32"
            )
    return tensors, sums.tolist()


def shard_layout(sequences):
    """The tensors of a shard that belong to neither model."""
    lengths = torch.tensor([0] + [len(sequence.tokens) for sequence in sequences])
    labels = [
        sequence.item["label"] for sequence in sequences if "label" in (sequence.item or {})
    ]
    return ({"labels": torch.tensor(labels)} if labels else {}) | {
        "sequence_offsets": lengths.cumsum(0),
        "token_ids": torch.tensor(
            [token for sequence in sequences for token in sequence.tokens], dtype=torch.int32
        ),
        "document_ids": torch.tensor([sequence.document for sequence in sequences]),
    }


def mean_norms(records, role):
    sums = sum(torch.tensor(record["key_norms"][role], dtype=torch.float64) for record in records)
    means = [round(value, 4) for value in (sums[0] / sums[1].clamp(min=1)).tolist()]
    return {"by_position": means[:-1], "later": means[-1]}


def described_in(index, role):
    """What a loaded model says of itself, from the index of a finished capture."""
    source = index["source"]
    return types.SimpleNamespace(
        geometry=index[role]["geometry"],
        probe_error=source["rope_removal_error"][role],
        mrope_section=source["mrope_section"].get(role),
    )


class Capture:
    """One command: what it will do is fixed, and named by `plan`, before any model is loaded."""

    def __init__(self, options):
        self._options = options
        self._tokenizer_digest, tokenizer = self._common_tokenizer()
        self._encoders = (
            {role: models.ItemEncoder(getattr(options, role)) for role in ROLES}
            if options.format == "image-text"
            else {}
        )
        encode_item = (
            (lambda item: self._encoders["sender"].encode(item)["input_ids"][0].tolist())
            if self._encoders
            else None
        )
        cutter = inputs.Cutter(tokenizer, options.tokens, options.format, encode_item)
        planned = inputs.plan_sequences(options, cutter)
        sequences, self._documents = planned.sequences, planned.documents
        step = options.shard_sequences
        self._shards = [sequences[begin : begin + step] for begin in range(0, len(sequences), step)]
        self._num_tokens = sum(len(sequence.tokens) for sequence in sequences)
        self._revisions = {role: models.weights_digest(getattr(options, role)) for role in ROLES}
        identity = [
            VERSION,
            self._revisions,
            self._tokenizer_digest,
            options.dtype,
            options.compute_dtype,
            step,
            [(sequence.tokens, sequence.document) for sequence in sequences],
        ]
        if self._encoders:  # the tokens of two images are the same when their texts are
            identity += [
                (sha256_of(sequence.item["image"]), sequence.item.get("label"))
                for sequence in sequences
            ]
        plan = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        self._store = store.Store(options.output, plan, len(self._shards))

    def _common_tokenizer(self):
        tokenizers = {role: models.load_tokenizer(getattr(self._options, role)) for role in ROLES}
        digests = {
            role: models.tokenizer_digest(tokenizer) for role, tokenizer in tokenizers.items()
        }
        if digests["sender"] != digests["receiver"]:
            raise CaptureError(
                f"the tokenizers differ: sender {digests['sender'][:12]}, receiver "
                f"{digests['receiver'][:12]}. "
                "Pairs with different tokenizers need an alignment of tokens, which this version "
                "does not make."
            )
        return digests["sender"], tokenizers["sender"]

    def _load(self, role):
        model = models.CacheModel(
            getattr(self._options, role),
            getattr(torch, self._options.compute_dtype),
            self._options.device,
        )
        window = model.geometry["sliding_window"]
        if window and self._options.tokens > window:
            raise CaptureError(
                f"{model.folder}: --tokens {self._options.tokens} exceeds its sliding window of "
                f"{window}; "
                f"use at most {window}"
            )
        print(
            f"capture: {role} {model.geometry['model']}: {model.geometry['num_layers']} layers x "
            f"{model.geometry['num_kv_heads']} "
            f"KV heads x {model.geometry['head_dim']}, RoPE {model.geometry['rope']['pairing']}, "
            f"removed to {model.probe_error:.1e}",
            file=sys.stderr,
            flush=True,
        )
        return model

    def _shard_half(self, model, role, number, progress):
        tensors, norms = capture_shard(
            model, role, self._shards[number], self._options, self._encoders.get(role), progress
        )
        return tensors, {role: norms}

    def _finish_shard(self, number, halves):
        layout = shard_layout(self._shards[number])
        tensors, norms = {}, {}
        for half, half_norms in halves:
            tensors |= half
            norms |= half_norms
        self._store.write_shard(
            number,
            tensors | layout,
            {
                "num_sequences": len(self._shards[number]),
                "num_tokens": len(layout["token_ids"]),
                "key_norms": norms,
            },
        )

    def run(self):
        """Captures the missing shards and writes the index."""
        missing = self._store.missing()
        finished = self._store.finished_index()
        if finished and not missing:
            self._write_index({role: described_in(finished, role) for role in ROLES})
            return
        tokens = sum(
            len(sequence.tokens) for number in missing for sequence in self._shards[number]
        )
        print(
            f"capture: {self._num_tokens} tokens in {len(self._shards)} shards, {len(missing)} to "
            "do",
            file=sys.stderr,
            flush=True,
        )
        progress = Progress(2 * tokens)
        described = (
            self._run_apart(missing, progress)
            if self._options.one_model_at_a_time
            else self._run_together(missing, progress)
        )
        progress.close()
        self._write_index(described)

    def _run_together(self, missing, progress):
        loaded = {role: self._load(role) for role in ROLES}
        for number in missing:
            self._finish_shard(
                number, [self._shard_half(loaded[role], role, number, progress) for role in ROLES]
            )
        return loaded

    def _run_apart(self, missing, progress):
        """Half the memory: the sender makes its half of every shard, then the receiver the rest."""
        sender = self._load("sender")
        for number in missing:
            if not self._store.has_part(number, "sender"):
                self._store.write_part(
                    number, "sender", *self._shard_half(sender, "sender", number, progress)
                )
        sender.release()
        receiver = self._load("receiver")
        for number in missing:
            self._finish_shard(
                number,
                [
                    self._store.read_part(number, "sender"),
                    self._shard_half(receiver, "receiver", number, progress),
                ],
            )
            self._store.part_path(number, "sender").unlink()
        return {"sender": sender, "receiver": receiver}

    def _write_index(self, described):
        options = self._options
        sides = {
            role: {
                "geometry": described[role].geometry,
                "revision": self._revisions[role],
                "tokenizer_sha256": self._tokenizer_digest,
            }
            for role in ROLES
        }
        source = {
            **inputs.describe(options),
            **({"label_field": options.label_field} if options.label_field else {}),
            "compute_dtype": options.compute_dtype,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "command": shlex.join(["capture_hf.py", *options.arguments]),
            "rope_removal_error": {role: described[role].probe_error for role in ROLES},
            "mrope_section": {
                role: described[role].mrope_section
                for role in ROLES
                if described[role].mrope_section
            },
        }
        header = {
            "schema": 1,
            "layout": "layers",
            "created_by": f"capture_hf.py {VERSION}",
            **sides,
            "num_sinks": NUM_SINKS,
            "documents": self._documents,
        }
        self._store.finish(
            header,
            source,
            {role: lambda records, role=role: mean_norms(records, role) for role in ROLES},
        )


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sender",
        required=True,
        metavar="DIR",
        help="Hugging Face folder of the model whose cache is read",
    )
    parser.add_argument(
        "--receiver",
        required=True,
        metavar="DIR",
        help="Hugging Face folder of the model whose cache is written",
    )
    inputs.add_arguments(parser, ("text", "chat", "image-text"))
    parser.add_argument(
        "--label-field",
        metavar="NAME",
        help="image-text: key of each line's label, a class from 0, kept in the dataset",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="dataset folder; an unfinished one is resumed",
    )
    parser.add_argument(
        "--batch-size",
        type=inputs.positive,
        default=8,
        help="sequences a forward pass (default: %(default)s)",
    )
    parser.add_argument(
        "--shard-sequences",
        type=inputs.positive,
        default=64,
        metavar="K",
        help="sequences a shard; one shard is held in memory (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float16", "bfloat16", "float32"),
        default="float16",
        help="stored type (default: %(default)s)",
    )
    parser.add_argument(
        "--compute-dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="type the models run in (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda[:n] (default: %(default)s)")
    parser.add_argument(
        "--threads", type=inputs.positive, help="CPU threads (default: torch's choice)"
    )
    parser.add_argument(
        "--one-model-at-a-time",
        action="store_true",
        help="half the memory; both models are resident otherwise",
    )
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    inputs.check_arguments(parser, options)
    if options.label_field and options.format != "image-text":
        parser.error("--label-field: labels are read with --format image-text alone")
    return options


def main(arguments=None):
    options = parse(arguments)
    transformers.utils.logging.set_verbosity_error()  # its reports of the unused head and the like
    transformers.utils.logging.disable_progress_bar()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        Capture(options).run()
    except CaptureError as error:
        print(f"capture_hf: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ncapture_hf: interrupted; finished shards are kept, run the same command to resume",
            file=sys.stderr,
        )
        return 130
    print(f"capture_hf: wrote {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
