"""The same step as train_step.cpp in Python torch, eager: the pseudo-code of the project's first design.

A worker for compare_train_step.py: reads "sequences tokens steps" a line, answers with the milliseconds
of each step as a JSON line. torch.optim.AdamW with its defaults unless --fused is given.
"""

import argparse
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SENDER_WIDTH, RECEIVER_WIDTH, CLASSES = 512, 4096, 2


class Projector(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(SENDER_WIDTH, RECEIVER_WIDTH, bias=False)
        self.residual = nn.Parameter(torch.zeros(RECEIVER_WIDTH))
        self.layer_norm = nn.LayerNorm(RECEIVER_WIDTH)

    def forward(self, sender):
        projected = self.linear(sender) + self.residual.unsqueeze(0).unsqueeze(0)
        return self.layer_norm(projected)


def step(projector, head, optimiser, sender, target):
    projected = projector(sender)
    loss_mse = F.mse_loss(projected, target)
    loss_cosine = 1 - F.cosine_similarity(projected, target, dim=-1).mean()
    logits_projected = head(projected.mean(dim=1))
    with torch.no_grad():
        logits_target = head(target.mean(dim=1))
    loss_task = F.cross_entropy(logits_projected, logits_target.argmax(dim=-1))
    loss = loss_mse + 0.5 * loss_cosine + 1.0 * loss_task
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("threads", type=int, nargs="?", default=1)
    parser.add_argument("--fused", action="store_true", help="AdamW(fused=True)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    projector = Projector()
    head = nn.Linear(RECEIVER_WIDTH, CLASSES).requires_grad_(False)
    optimiser = torch.optim.AdamW(projector.parameters(), lr=1e-4, fused=arguments.fused or None)
    batches = {}
    for line in sys.stdin:
        sequences, tokens, steps = map(int, line.split())
        if (sequences, tokens) not in batches:
            batches[sequences, tokens] = (
                torch.randn(sequences, tokens, SENDER_WIDTH),
                torch.randn(sequences, tokens, RECEIVER_WIDTH),
            )
        times_ms = []
        for _ in range(steps):
            start = time.perf_counter()
            step(projector, head, optimiser, *batches[sequences, tokens])
            times_ms.append(1e3 * (time.perf_counter() - start))
        print(json.dumps(times_ms), flush=True)


if __name__ == "__main__":
    main()
