#!/usr/bin/env python3
"""Trains the three small language models of the demo from nothing, on text of incident_log.py.

    train_demo_models.py [--models sender receiver other] [--output demo] [--work FOLDER]

First a model learns to copy: random tokens, repeated, until it tells the repeats. Without that the
small models do not learn to use their context; the logs come after. Writes a Hugging Face folder a
model, in bfloat16: config.json, model.safetensors, tokenizer.json, tokenizer_config.json. sender
and receiver share one tokeniser; other has its own. Seeded; the text is made from seeds that the
demo does not use. A checkpoint in --work every two minutes: the same command goes on from there.
demo/README.md holds the losses that came out.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys
import time

import tokenizers
import torch
import transformers
from tokenizers import decoders, pre_tokenizers, trainers

import incident_log

TRAINING_SEED = 1_000  # the demo's own text is of seeds 3 and 4
HELD_OUT_SEED = 2
HELD_OUT_DOCUMENTS = 60
DOCUMENTS = 6_000
MAX_POSITIONS = 512
TOKENS_A_STEP = 2_048
COPY_ROWS, COPY_TOKENS = 24, 64
COPY_LOSS = 0.1  # nats a repeated token, mean of the last steps, at which copying is learned
MOST_COPY_STEPS = 3_000
WARM_UP_STEPS = 50
CHECKPOINT_SECONDS = 120


@dataclasses.dataclass
class Recipe:
    tokenizer: str
    config: transformers.PretrainedConfig
    learning_rate: float
    cycles: list  # steps of each fall of the learning rate


@dataclasses.dataclass
class TokenizerRecipe:
    vocabulary: int
    text_seed: int
    split: list  # pre-tokenisers, the byte level last


TOKENIZERS = {
    # Words with the space before them; digits apart.
    "shared": TokenizerRecipe(
        480,
        TRAINING_SEED,
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ],
    ),
    # Words with the space and the marks after them: other boundaries and another vocabulary.
    "other": TokenizerRecipe(
        384,
        TRAINING_SEED + 1,
        [
            pre_tokenizers.Split(" ", behavior="merged_with_previous"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ],
    ),
}


def decoder_config(kind, hidden, layers, heads, kv_heads, head_dim, intermediate, vocabulary):
    return kind(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=intermediate,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        initializer_range=0.5 * hidden**-0.5,  # 0.02 is for wide models
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )


def recipes():
    llama, qwen2 = transformers.LlamaConfig, transformers.Qwen2Config
    return {
        "sender": Recipe("shared", decoder_config(llama, 96, 4, 4, 2, 24, 256, 480), 2e-3, [900]),
        "receiver": Recipe(
            "shared", decoder_config(qwen2, 128, 5, 6, 3, 32, 320, 480), 2e-3, [700, 700]
        ),
        "other": Recipe("other", decoder_config(llama, 96, 4, 4, 2, 24, 256, 384), 2e-3, [600]),
    }


def texts(seed, documents):
    for number in range(documents):
        yield incident_log.document(seed, number)[0] + incident_log.END_OF_TEXT


def train_tokenizer(recipe):
    """A byte-level BPE tokeniser."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(recipe.split)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[incident_log.END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(recipe.text_seed, 2_000), trainer)
    return tokenizer


def token_stream(tokenizer, seed, documents):
    """(token ids of all documents in a row, the place where each document starts)."""
    encoded = tokenizer.encode_batch(list(texts(seed, documents)))
    starts = torch.tensor([0] + [len(one.ids) for one in encoded]).cumsum(0)[:-1]
    return torch.tensor([token for one in encoded for token in one.ids]), starts


def repeats(vocabulary, generator):
    """([COPY_ROWS, COPY_TOKENS + 1] random tokens that repeat themselves, the period)."""
    period = torch.randint(6, COPY_TOKENS // 2, (1,), generator=generator).item()
    chosen = torch.randint(len(vocabulary), (COPY_ROWS, period), generator=generator)
    times = COPY_TOKENS // period + 1
    return vocabulary[chosen].repeat(1, times + 1)[:, : COPY_TOKENS + 1], period


def length_at(step, steps):
    """Tokens a crop: short ones first in each cycle."""
    progress = step / steps
    return 128 if progress < 0.3 else 256 if progress < 0.75 else MAX_POSITIONS


def crops(stream, starts, length, generator):
    """[TOKENS_A_STEP / length, length + 1]: half from the start of a document, half from
    anywhere."""
    rows = TOKENS_A_STEP // length
    last = len(stream) - length - 1
    anywhere = torch.randint(last, (rows // 2,), generator=generator)
    chosen = starts[torch.randint(len(starts), (rows - rows // 2,), generator=generator)]
    begin = torch.cat((anywhere, chosen)).clamp(max=last)
    return stream[begin[:, None] + torch.arange(length + 1)]


def loss_of(model, tokens_BT, begin=0):
    """Mean loss in nats of the tokens after place `begin`."""
    logits_BTV = model(input_ids=tokens_BT[:, :-1], use_cache=False).logits[:, begin:]
    return torch.nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1), tokens_BT[:, begin + 1 :].flatten()
    )


@torch.no_grad()
def held_out(model, tokenizer):
    """Mean loss of whole unseen documents (at most MAX_POSITIONS tokens), in nats; and how often
    the words that the beginning of the document decides are told rightly."""
    total, tokens, text_bytes, told, asked = 0.0, 0, 0, 0, 0
    for number in range(HELD_OUT_DOCUMENTS):
        text = incident_log.document(HELD_OUT_SEED, number)[0]
        encoded = tokenizer.encode(text)
        ids = torch.tensor([encoded.ids[:MAX_POSITIONS]])
        logits_TV = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        total += torch.nn.functional.cross_entropy(logits_TV, ids[0, 1:], reduction="sum").item()
        tokens += ids.shape[1] - 1
        first, last = encoded.offsets[0], encoded.offsets[ids.shape[1] - 1]
        text_bytes += last[1] - first[1]  # the text is ASCII
        hits = logits_TV.argmax(-1) == ids[0, 1:]
        report = text.index("report.")
        for place, (begin, _) in enumerate(encoded.offsets[1 : ids.shape[1]]):
            if begin > report:
                asked += 1
                told += hits[place].item()
    return {
        "nats_per_token": total / tokens,
        "nats_per_byte": total / text_bytes,
        "report_top1": told / asked,
        "tokens": tokens,
    }


def save_model(model, tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    transformers.utils.logging.set_verbosity_error()
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": incident_log.END_OF_TEXT,
        "model_max_length": MAX_POSITIONS,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(described, indent=2) + "\n")


class Training:
    def __init__(self, name, recipe, tokenizer, work):
        self._name, self._recipe, self._tokenizer = name, recipe, tokenizer
        self._file = work / f"{name}.pt"
        torch.manual_seed(sorted(recipes()).index(name))
        self._model = transformers.AutoModelForCausalLM.from_config(recipe.config)
        self._crops = torch.Generator().manual_seed(1)
        matrices = [p for p in self._model.parameters() if p.dim() > 1]
        others = [p for p in self._model.parameters() if p.dim() <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        # What a checkpoint holds beside weights and moments. copy_loss: mean of the last steps.
        self._state = {"copy_steps": 0, "copy_loss": math.inf, "step": 0}

    def _save(self):
        state = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "crops": self._crops.get_state(),
            "state": self._state,
        }
        torch.save(state, self._file.with_suffix(".tmp"))
        self._file.with_suffix(".tmp").replace(self._file)
        self._saved = time.monotonic()

    def _resume(self):
        if self._file.is_file():
            saved = torch.load(self._file)
            self._model.load_state_dict(saved["model"])
            self._optimizer.load_state_dict(saved["optimizer"])
            self._crops.set_state(saved["crops"])
            self._state = saved["state"]

    def _update(self, loss, scale, tell):
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * scale
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        if tell:
            seconds = time.monotonic() - self._begin
            print(f"{self._name} {self._state} loss {loss.item():.3f} {seconds:.0f} s", flush=True)
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self._save()

    def _learn_to_copy(self, stream, starts):
        vocabulary, state = stream.unique(), self._state
        while state["copy_loss"] > COPY_LOSS and state["copy_steps"] < MOST_COPY_STEPS:
            tokens, period = repeats(vocabulary, self._crops)
            copy_loss = loss_of(self._model, tokens, period)
            last = min(state["copy_loss"], 10.0)
            state["copy_loss"] = last + 0.05 * (copy_loss.item() - last)
            state["copy_steps"] += 1
            steps = state["copy_steps"]
            loss = copy_loss
            if steps % 3 == 0:  # a few logs, so that the words are known as well
                loss = loss + loss_of(self._model, crops(stream, starts, 128, self._crops)[:6])
            self._update(loss, min(1.0, steps / WARM_UP_STEPS), steps % 51 == 0)

    def _learn_logs(self, stream, starts):
        state, begin = self._state, 0
        for steps in self._recipe.cycles:
            while (place := state["step"] - begin) < steps:
                length = length_at(place, steps)
                loss = loss_of(self._model, crops(stream, starts, length, self._crops))
                scale = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * place / steps))
                state["step"] += 1
                self._update(loss, scale, state["step"] % 50 == 0)
            begin += steps

    def run(self):
        self._resume()
        self._begin = self._saved = time.monotonic()
        count = sum(p.numel() for p in self._model.parameters())
        stream, starts = token_stream(self._tokenizer, TRAINING_SEED, DOCUMENTS)
        print(f"{self._name}: {count} parameters, {len(stream)} tokens of text", flush=True)
        self._learn_to_copy(stream, starts)
        self._learn_logs(stream, starts)
        self._save()
        return self._model


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(recipes()), choices=list(recipes()))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("demo"), metavar="DIR")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/demo_models"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.models:
        recipe = recipes()[name]
        tokenizer = train_tokenizer(TOKENIZERS[recipe.tokenizer])
        model = Training(name, recipe, tokenizer, options.work).run()
        save_model(model, tokenizer, options.output / name)
        saved = transformers.AutoModelForCausalLM.from_pretrained(options.output / name).float()
        print(name, json.dumps(held_out(saved, tokenizer)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
