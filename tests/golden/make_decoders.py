#!/usr/bin/env python3
"""Makes tests/golden/decoder: tiny random models of every supported family, and what transformers
computes with them. Needs torch and transformers (scripts/setup_capture.sh).

    .deps/capture/bin/python tests/golden/make_decoders.py

Each folder is a Hugging Face folder with `expected.safetensors` beside the weights:
  token_ids [2, 24]; logits [2, 24, V]; rotated.keys.L, values.L [2, N, 24, H]   one prefill
  mask [2, 24] (0: left padding), positions [2, 24], padded_logits [2, 24, V]    the same, padded
"""

import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent / "decoder"
TOKENS = 24
COMMON = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
MODELS = {
    "llama": transformers.LlamaConfig(**COMMON, rope_parameters=LLAMA3, tie_word_embeddings=True),
    "llama_bias": transformers.LlamaConfig(
        **COMMON | {"num_key_value_heads": 4, "head_dim": 12},
        rope_parameters=LINEAR,
        attention_bias=True,
        mlp_bias=True,
    ),
    "mistral": transformers.MistralConfig(**COMMON, sliding_window=8),
    "qwen2": transformers.Qwen2Config(
        **COMMON | {"hidden_size": 48, "num_hidden_layers": 4},
        use_sliding_window=True,
        sliding_window=6,
        max_window_layers=2,
        tie_word_embeddings=True,
    ),
    "qwen3": transformers.Qwen3Config(**COMMON, head_dim=16),
}


def make_model(config, seed):
    """Random weights, large enough that every part of the computation shows in the logits."""
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval().float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 1.2 / parameter.shape[1] ** 0.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.5)
            else:
                parameter.uniform_(0.5, 1.5)
        model.get_input_embeddings().weight.normal_(0, 1)
    return model


@torch.inference_mode()
def expected(model, config):
    token_ids = torch.randint(config.vocab_size, (2, TOKENS))
    cache = transformers.DynamicCache()  # without a config: it keeps all tokens of windowed layers
    output = model(token_ids, past_key_values=cache, use_cache=True)
    result = {"token_ids": token_ids.int(), "logits": output.logits}
    for layer, kept in enumerate(cache.layers):
        result[f"rotated.keys.{layer}"] = kept.keys
        result[f"values.{layer}"] = kept.values
    mask = torch.ones(2, TOKENS, dtype=torch.long)
    mask[1, :7] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    padded = model(token_ids, attention_mask=mask, position_ids=positions, use_cache=False)
    result |= {"mask": mask, "positions": positions, "padded_logits": padded.logits}
    return {name: tensor.contiguous() for name, tensor in result.items()}


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for seed, (name, config) in enumerate(MODELS.items()):
        model = make_model(config, seed)
        folder = FOLDER / name
        # Qwen3 in several files, as large models are.
        model.save_pretrained(folder, max_shard_size="60KB" if name == "qwen3" else "1GB")
        (folder / "generation_config.json").unlink(missing_ok=True)
        save_file(expected(model, config), folder / "expected.safetensors")
        written = json.loads((folder / "config.json").read_text())
        written.pop("transformers_version", None)
        (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
