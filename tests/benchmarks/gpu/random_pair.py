"""Writes two language models with random weights in the shapes of Qwen2.5-Coder 0.5B and 1.5B (bfloat16),
with the tokeniser of the demo pair: what a step costs does not depend on what the weights say, and
nothing is downloaded. Usage: random_pair.py TOKENIZER_DIR OUTPUT_DIR [LAYERS]. Needs torch, safetensors.
"""

import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file

SHAPES = {
    "sender": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "head_dim": 64,
    },
    "receiver": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "head_dim": 128,
    },
}
COMMON = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def weights_of(shape, vocab_size):
    def random(*size):
        return (0.03 * torch.randn(*size)).to(torch.bfloat16)

    def ones(width):
        return torch.ones(width, dtype=torch.bfloat16)

    width, inner = shape["hidden_size"], shape["intermediate_size"]
    queries = shape["num_attention_heads"] * shape["head_dim"]
    keys = shape["num_key_value_heads"] * shape["head_dim"]
    tensors = {
        "model.embed_tokens.weight": random(vocab_size, width),
        "model.norm.weight": ones(width),
        "lm_head.weight": random(vocab_size, width),
    }
    for layer in range(shape["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, rows in (("q", queries), ("k", keys), ("v", keys)):
            tensors[f"{at}self_attn.{name}_proj.weight"] = random(rows, width)
            tensors[f"{at}self_attn.{name}_proj.bias"] = random(rows)
        tensors[f"{at}self_attn.o_proj.weight"] = random(width, queries)
        tensors[f"{at}mlp.gate_proj.weight"] = random(inner, width)
        tensors[f"{at}mlp.up_proj.weight"] = random(inner, width)
        tensors[f"{at}mlp.down_proj.weight"] = random(width, inner)
        tensors[f"{at}input_layernorm.weight"] = ones(width)
        tensors[f"{at}post_attention_layernorm.weight"] = ones(width)
    return tensors


def main():
    tokenizer, output = map(pathlib.Path, sys.argv[1:3])
    torch.manual_seed(1)
    for name, shape in SHAPES.items():
        config = COMMON | shape
        if len(sys.argv) > 3:
            config["num_hidden_layers"] = int(sys.argv[3])
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        save_file(weights_of(config, config["vocab_size"]), folder / "model.safetensors")
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer / file, folder / file)


if __name__ == "__main__":
    main()
