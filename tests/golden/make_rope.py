"""Makes tests/golden/rope.safetensors: keys rotated by transformers' own rotary code.

Each case holds `{name}.keys` and `{name}.rotated` [T, N, H] float32 and `{name}.positions` [T]
int64; the metadata entry "cases" is a JSON list of the parameters. cos and sin come from the
model's rotary module and the rotation from the model's apply_rotary_pos_emb, so this file does not
contain a RoPE of our own. transformers forms angle = position * inv_freq in float32: at position p
a correct float64 reader may differ by p * 2^-23 radians from these values.

    .deps/capture/bin/python tests/golden/make_rope.py
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers.models.cohere import modeling_cohere
from transformers.models.cohere.configuration_cohere import CohereConfig
from transformers.models.glm import modeling_glm
from transformers.models.glm.configuration_glm import GlmConfig
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.gpt_neox.configuration_gpt_neox import GPTNeoXConfig
from transformers.models.llama import modeling_llama
from transformers.models.llama.configuration_llama import LlamaConfig

POSITIONS = [0, 1, 2, 3, 17, 255, 4095]
NUM_KV_HEADS = 2
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

# family -> (config class, rotary module, apply function, pairing)
FAMILIES = {
    "llama": (
        LlamaConfig,
        modeling_llama.LlamaRotaryEmbedding,
        modeling_llama.apply_rotary_pos_emb,
        "half",
    ),
    "gpt_neox": (
        GPTNeoXConfig,
        modeling_gpt_neox.GPTNeoXRotaryEmbedding,
        modeling_gpt_neox.apply_rotary_pos_emb,
        "half",
    ),
    "cohere": (
        CohereConfig,
        modeling_cohere.CohereRotaryEmbedding,
        modeling_cohere.apply_rotary_pos_emb,
        "interleaved",
    ),
    "glm": (
        GlmConfig,
        modeling_glm.GlmRotaryEmbedding,
        modeling_glm.apply_rotary_pos_emb,
        "interleaved",
    ),
}

# name, family, head_dim, theta, scaling, rotated fraction of head_dim
CASES = [
    ("half_default", "llama", 64, 1e4, {"type": "default"}, 1.0),
    ("half_theta_1e6", "llama", 128, 1e6, {"type": "default"}, 1.0),
    ("half_linear", "llama", 64, 1e4, {"type": "linear", "factor": 4.0}, 1.0),
    ("half_llama3", "llama", 128, 5e5, {"type": "llama3", **LLAMA3}, 1.0),
    ("half_partial", "gpt_neox", 64, 1e4, {"type": "default"}, 0.25),
    ("interleaved_default", "cohere", 64, 1e4, {"type": "default"}, 1.0),
    ("interleaved_linear", "cohere", 64, 1e4, {"type": "linear", "factor": 2.0}, 1.0),
    ("interleaved_partial", "glm", 64, 1e4, {"type": "default"}, 0.5),
]


def rotate(family, head_dim, theta, scaling, fraction, keys_TNH):
    config_class, rotary_class, apply, _ = FAMILIES[family]
    parameters = {
        "rope_type": scaling["type"],
        "rope_theta": theta,
        "partial_rotary_factor": fraction,
    }
    parameters |= {key: value for key, value in scaling.items() if key != "type"}
    num_heads = 4
    config = config_class(
        hidden_size=num_heads * head_dim,
        num_attention_heads=num_heads,
        num_hidden_layers=1,
        intermediate_size=8,
        vocab_size=8,
        max_position_embeddings=131072,
        rope_parameters=parameters,
    )
    if hasattr(config, "head_dim"):  # GLM's default is 128, whatever the hidden size
        config.head_dim = head_dim
    rotary = rotary_class(config)
    keys_1NTH = keys_TNH.transpose(0, 1)[None]
    cos, sin = rotary(keys_1NTH, torch.tensor([POSITIONS]))
    _, rotated_1NTH = apply(keys_1NTH, keys_1NTH, cos, sin)
    return rotated_1NTH[0].transpose(0, 1).contiguous(), cos.shape[-1]


def main():
    generator = torch.Generator().manual_seed(20)
    tensors, cases = {}, []
    for name, family, head_dim, theta, scaling, fraction in CASES:
        keys_TNH = torch.randn(len(POSITIONS), NUM_KV_HEADS, head_dim, generator=generator)
        rotated_TNH, rotary_dim = rotate(family, head_dim, theta, scaling, fraction, keys_TNH)
        assert rotary_dim == int(head_dim * fraction), (name, rotary_dim)
        tensors |= {
            f"{name}.keys": keys_TNH,
            f"{name}.rotated": rotated_TNH,
            f"{name}.positions": torch.tensor(POSITIONS, dtype=torch.int64),
        }
        cases.append(
            {
                "name": name,
                "family": family,
                "theta": theta,
                "pairing": FAMILIES[family][3],
                "head_dim": head_dim,
                "rotary_dim": rotary_dim,
                "scaling": scaling,
            }
        )
    path = pathlib.Path(__file__).with_name("rope.safetensors")
    save_file(tensors, path, metadata={"cases": json.dumps(cases)})
    print(f"{path}: {path.stat().st_size} bytes, {len(cases)} cases")


if __name__ == "__main__":
    main()
