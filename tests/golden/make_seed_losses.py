"""Makes seed_losses.json: what Python torch gets for the project's first recipe, step by step.

The recipe is the pseudo-code of the first design: projector V1 (Linear without bias, learnable bias,
LayerNorm, 512 -> 4096) or V2 (Linear, GELU, Linear, LayerNorm, hidden 1024), the loss mse + 0.5 cosine
+ 1.0 task with a frozen head, AdamW with lr 1e-4 and torch's other defaults. Weights and data come
from an integer formula that any language repeats to the last bit, so the file holds losses only.

Needs: Python with torch and numpy (scripts/setup_capture.sh). Run: python make_seed_losses.py
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SEQUENCES, TOKENS_PER_SEQUENCE, BATCHES, CLASSES = 4, 16, 4, 5
SENDER_WIDTH, RECEIVER_WIDTH, HIDDEN_SIZE = 512, 4096, 1024
STEPS = {"v1": 100, "v2": 20}

RECIPE = {
    "formula": "fill(seed, scale): element i of a row-major float32 tensor is scale * u_i, with u_i = (n_i - 2^23) "
    "* 2^-23 in [-1, 1), n_i = the upper 24 bits of SplitMix64 output i of the seed, counted from 0. "
    "Every scale is a power of two, so all of it is exact in float32. In C++: Random(seed).bits() >> 40.",
    "sender_width": SENDER_WIDTH,
    "receiver_width": RECEIVER_WIDTH,
    "hidden_size": HIDDEN_SIZE,
    "sequences_per_batch": SEQUENCES,
    "tokens_per_sequence": TOKENS_PER_SEQUENCE,
    "batches": BATCHES,
    "classes": CLASSES,
    "order": "step s, from 0, uses batch s mod batches; losses[s] is before the update of step s",
    "optimiser": "AdamW, lr 1e-4, betas 0.9 0.999, eps 1e-8, weight decay 0.01 on every parameter",
    "loss": "mse + 0.5 * (1 - cosine) + 1.0 * cross-entropy(head(mean over tokens of projected), argmax "
    "head(mean over tokens of true)); head frozen; no standardisation; LayerNorm eps 1e-5",
    "fill": {
        "v1.linear.weight": {"shape": [RECEIVER_WIDTH, SENDER_WIDTH], "seed": 1, "scale": 2**-5},
        "v2.input.weight": {"shape": [HIDDEN_SIZE, SENDER_WIDTH], "seed": 2, "scale": 2**-5},
        "v2.input.bias": {"shape": [HIDDEN_SIZE], "seed": 3, "scale": 2**-5},
        "v2.output.weight": {"shape": [RECEIVER_WIDTH, HIDDEN_SIZE], "seed": 4, "scale": 2**-5},
        "v2.output.bias": {"shape": [RECEIVER_WIDTH], "seed": 5, "scale": 2**-5},
        "head.weight": {"shape": [CLASSES, RECEIVER_WIDTH], "seed": 6, "scale": 2**-3},
        "head.bias": {"shape": [CLASSES], "seed": 7, "scale": 2**-3},
    },
    "fill_batch": "batch b: sender [64, 512] with seed 100 + b, scale 1; receiver [64, 4096] with seed 200 + b, "
    "scale 2; sequences of 16 tokens one after the other",
    "zeros_and_ones": "v1.linear.bias 0 (the learnable bias), norm.gamma 1, norm.beta 0",
}


def splitmix64(seed, count):
    """The first `count` outputs; https://prng.di.unimi.it/splitmix64.c."""
    with np.errstate(over="ignore"):
        step = np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(seed) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * step
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fill(shape, seed, scale):
    n = (splitmix64(seed, int(np.prod(shape))) >> np.uint64(40)).astype(np.int64)
    return torch.from_numpy(((n - 2**23) * (2.0**-23 * scale)).astype(np.float32)).reshape(shape)


def filled(name):
    return fill(**RECIPE["fill"][name])


class ProjectorV1(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(SENDER_WIDTH, RECEIVER_WIDTH, bias=False)
        self.residual = nn.Parameter(torch.zeros(RECEIVER_WIDTH))
        self.layer_norm = nn.LayerNorm(RECEIVER_WIDTH)
        self.linear.weight.data = filled("v1.linear.weight")

    def forward(self, sender):
        return self.layer_norm(self.linear(sender) + self.residual)


class ProjectorV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(SENDER_WIDTH, HIDDEN_SIZE),
            nn.GELU(),
            nn.Linear(HIDDEN_SIZE, RECEIVER_WIDTH),
            nn.LayerNorm(RECEIVER_WIDTH),
        )
        for index, name in ((0, "input"), (2, "output")):
            self.mlp[index].weight.data = filled(f"v2.{name}.weight")
            self.mlp[index].bias.data = filled(f"v2.{name}.bias")

    def forward(self, sender):
        return self.mlp(sender)


class TaskHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(RECEIVER_WIDTH, CLASSES)
        self.linear.weight.data = filled("head.weight")
        self.linear.bias.data = filled("head.bias")
        self.requires_grad_(False)

    def forward(self, cache):
        return self.linear(cache.mean(dim=1))


def batch(index):
    shape = (SEQUENCES, TOKENS_PER_SEQUENCE)
    return fill((*shape, SENDER_WIDTH), 100 + index, 1.0), fill((*shape, RECEIVER_WIDTH), 200 + index, 2.0)


def loss_terms(projected, target, head):
    logits, target_logits = head(projected), head(target)
    return {
        "mse": F.mse_loss(projected, target),
        "cosine": 1 - F.cosine_similarity(projected, target, dim=-1).mean(),
        "task": F.cross_entropy(logits, target_logits.argmax(dim=-1)),
        "task_soft": F.cross_entropy(logits, target_logits.softmax(dim=-1)),
    }


def train(projector, num_steps):
    head = TaskHead()
    optimiser = torch.optim.AdamW(projector.parameters(), lr=1e-4)
    batches = [batch(index) for index in range(BATCHES)]
    losses = []
    for step in range(num_steps):
        sender, target = batches[step % BATCHES]
        terms = loss_terms(projector(sender), target, head)
        loss = terms["mse"] + 0.5 * terms["cosine"] + 1.0 * terms["task"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def terms_in_float64():
    """The terms of the sender of batch 0, tiled to the receiver's width, against its receiver."""
    sender, target = batch(0)
    predicted = sender.repeat(1, 1, RECEIVER_WIDTH // SENDER_WIDTH).double()
    terms = loss_terms(predicted, target.double(), TaskHead().double())
    return {name: term.item() for name, term in terms.items()}


def main():
    torch.set_num_threads(1)
    result = {
        "made_by": f"tests/golden/make_seed_losses.py with torch {torch.__version__.split('+')[0]}, float32, CPU, 1 thread",
        "recipe": RECIPE,
        "terms": {
            "inputs": "predicted: sender of batch 0 tiled 8 times along the width; target: receiver of batch 0; float64",
            **terms_in_float64(),
        },
        "v1": train(ProjectorV1(), STEPS["v1"]),
        "v2": train(ProjectorV2(), STEPS["v2"]),
    }
    path = pathlib.Path(__file__).with_name("seed_losses.json")
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
