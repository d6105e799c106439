"""Makes bidirectional.json: what Python torch gets for the first design's projector that goes both ways.

BiDirectionalProjector is written as in that design and runs in float64 on one sequence after the
other, each a batch of one; `scaled` multiplies the softmax by the number of tokens. Weights and
caches come from the integer formula of make_seed_losses.py, so the file holds outputs and gradients only.

Needs: Python with torch and numpy (scripts/setup_capture.sh). Run: python make_bidirectional.py
"""

import json
import pathlib

import torch
from make_seed_losses import fill
from torch import nn

SMALL, LARGE, LENGTHS = 4, 6, (3, 5, 1)


class BiDirectionalProjector(nn.Module):
    def __init__(self, scaled):
        super().__init__()
        self.scaled = scaled
        self.expand = nn.Linear(SMALL, LARGE)
        self.compress_query = nn.Linear(LARGE, SMALL)
        self.compress_attention = nn.Linear(LARGE, 1)
        names = ("expand.weight", "expand.bias", "compress_query.weight", "compress_query.bias")
        for seed, name in enumerate((*names, "compress_attention.weight", "compress_attention.bias"), start=1):
            parameter = self.get_parameter(name)
            parameter.data = fill(parameter.shape, seed, 1.0).double()

    def forward_expand(self, kv_small):
        return self.expand(kv_small)

    def forward_compress(self, kv_large):
        attn_weights = torch.softmax(self.compress_attention(kv_large), dim=1)
        if self.scaled:
            attn_weights = attn_weights * kv_large.shape[1]
        return self.compress_query(kv_large * attn_weights)


def results(scaled):
    projector = BiDirectionalProjector(scaled)
    large = fill((sum(LENGTHS), LARGE), 7, 2.0).double().requires_grad_()
    probe = fill((sum(LENGTHS), SMALL), 8, 1.0).double()
    sequences = [projector.forward_compress(tokens.unsqueeze(0))[0] for tokens in large.split(LENGTHS)]
    compressed = torch.cat(sequences)
    (compressed * probe).sum().backward()
    tensors = {
        "compressed": compressed,
        "cache_gradient": large.grad,
        "query_gradient": projector.compress_query.weight.grad,
        "bias_gradient": projector.compress_query.bias.grad,
        "attention_gradient": projector.compress_attention.weight.grad[0],
        "expanded": projector.forward_expand(fill((sum(LENGTHS), SMALL), 9, 2.0).double()),
    }
    return {name: tensor.detach().flatten().tolist() for name, tensor in tensors.items()}


if __name__ == "__main__":
    golden = {
        "fill": "seeds 1 .. 6, scale 1, float64: expand.weight [6, 4], expand.bias, compress_query.weight [4, 6], "
        "compress_query.bias, compress_attention.weight [1, 6], compress_attention.bias; receiver's cache [9, 6] seed "
        "7 scale 2, probe [9, 4] seed 8 scale 1, sender's cache [9, 4] seed 9 scale 2; sequences of 3, 5 and 1 tokens",
        "torch": torch.__version__,
        "sum_one": results(scaled=False),
        "mean_one": results(scaled=True),
    }
    path = pathlib.Path(__file__).parent / "bidirectional.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")
