#!/usr/bin/env python3
"""Turns a GGUF file into a Hugging Face folder: config.json, model.safetensors, tokenizer.json.

    convert_gguf.py IN.gguf OUT_DIR [--dtype float16|bfloat16|float32]

Quantised tensors are dequantised by the `gguf` package, so the folder holds the values that the
GGUF holds, not those of the original checkpoint: name such a model with its quantisation.
Architectures: llama (also Mistral, SmolLM), qwen2, qwen3. It is not a general converter: a tensor
or key that it does not understand is an error, never skipped.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import gguf
import numpy
import torch
from safetensors.torch import save_file
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

MAX_SHARD_BYTES = 5 << 30  # Hugging Face's own limit for one file

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}

GLOBAL_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ROPE_FREQS = "rope_freqs.weight"

# Pre-tokenisers by tokenizer.ggml.pre, as in the tokenizer.json of the original models.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = QWEN2_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


class ConversionError(Exception):
    """The GGUF holds something this script does not understand; the text says what and where."""


class Metadata:
    """Key-value section of a GGUF; `get` without a default raises an error that names the key."""

    def __init__(self, reader):
        self._fields = reader.fields
        self.architecture = self.get("general.architecture")

    def get(self, key, *default):
        if key not in self._fields:
            if default:
                return default[0]
            raise ConversionError(
                f"the GGUF has no key {key}. Is it a complete language model file?"
            )
        return self._fields[key].contents()

    def model(self, key, *default):
        return self.get(f"{self.architecture}.{key}", *default)


def unpermute(array, num_heads):
    """Rows of llama GGUFs pair (2i, 2i+1) for RoPE; Hugging Face pairs (i, i + H/2).

    Inverse of LlamaModel.permute in llama.cpp's convert_hf_to_gguf.py.
    """
    rows = array.shape[0]
    return (
        array.reshape(num_heads, rows // num_heads // 2, 2, *array.shape[1:])
        .swapaxes(1, 2)
        .reshape(array.shape)
    )


def hf_name(name):
    """Hugging Face name of a GGUF tensor; an unknown one is an error."""
    if name in GLOBAL_TENSORS:
        return GLOBAL_TENSORS[name]
    match = re.fullmatch(r"blk\.(\d+)\.([a-z_]+)\.(weight|bias)", name)
    if not match or match[2] not in LAYER_TENSORS:
        raise ConversionError(
            f"tensor {name} has no Hugging Face counterpart known to this script. "
            "Mixture-of-experts and other variants of these architectures are not supported."
        )
    return f"model.layers.{match[1]}.{LAYER_TENSORS[match[2]]}.{match[3]}"


def dequantise(tensor):
    """float32 array of a GGUF tensor, rows first as in PyTorch."""
    try:
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(
            numpy.float32, copy=False
        )
    except NotImplementedError as error:
        raise ConversionError(
            f"tensor {tensor.name}: quantisation {tensor.tensor_type.name} cannot be "
            "dequantised by the gguf package; convert another quantisation"
        ) from error


def llama3_factors(head_dim, theta, factor, low, high, original):
    """Divisors of the RoPE frequencies that llama.cpp stores as rope_freqs (from
    Llama3Model.generate_extra_tensors)."""
    frequencies = 1.0 / theta ** (numpy.arange(0, head_dim, 2) / head_dim)
    wavelengths = 2 * numpy.pi / frequencies
    smooth = (original / wavelengths - low) / (high - low)
    middle = 1 / ((1 - smooth) / factor + smooth)
    return numpy.where(
        wavelengths < original / high,
        1.0,
        numpy.where(wavelengths > original / low, factor, middle),
    )


def rope_scaling(metadata, tensors, head_dim, theta):
    """`rope_scaling` of config.json, or None."""
    if ROPE_FREQS in tensors:
        stored = dequantise(tensors[ROPE_FREQS]).ravel()
        factor = round(float(stored.max()), 3)
        # The GGUF keeps the divisors only. Every published Llama 3.x uses these three parameters.
        candidate = {
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        expected = llama3_factors(head_dim, theta, factor, 1.0, 4.0, 8192)
        if stored.shape != expected.shape or not numpy.allclose(stored, expected, rtol=1e-4):
            raise ConversionError(
                f"tensor {ROPE_FREQS} does not follow Llama 3 scaling with factor {factor}, low 1, "
                "high 4, original length 8192; its parameters cannot be recovered"
            )
        return {"rope_type": "llama3", **candidate}
    kind = metadata.model("rope.scaling.type", "none")
    if kind == "none":
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": float(metadata.model("rope.scaling.factor"))}
    raise ConversionError(
        f"key {metadata.architecture}.rope.scaling.type: expected none or linear, got {kind}"
    )


def make_config(metadata, tensors, tied, dtype):
    """config.json as transformers writes it (rope_theta/rope_scaling, which 4.x and 5.x both
    read)."""
    architecture = metadata.architecture
    hidden, heads = (
        int(metadata.model("embedding_length")),
        int(metadata.model("attention.head_count")),
    )
    head_dim = int(metadata.model("attention.key_length", hidden // heads))
    rotary_dim = int(metadata.model("rope.dimension_count", head_dim))
    if rotary_dim != head_dim:
        raise ConversionError(
            f"key {architecture}.rope.dimension_count: expected the head size {head_dim}, got "
            f"{rotary_dim}"
        )
    theta = float(metadata.model("rope.freq_base", 10000.0))
    config = {
        "architectures": [ARCHITECTURES[architecture]],
        "model_type": architecture,
        "hidden_size": hidden,
        "intermediate_size": int(metadata.model("feed_forward_length")),
        "num_hidden_layers": int(metadata.model("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(metadata.model("attention.head_count_kv", heads)),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": int(metadata.model("context_length")),
        "rms_norm_eps": float(
            numpy.format_float_positional(
                numpy.float32(metadata.model("attention.layer_norm_rms_epsilon")), unique=True
            )
        ),
        "rope_theta": theta,
        "rope_scaling": rope_scaling(metadata, tensors, head_dim, theta),
        "tie_word_embeddings": tied,
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "torch_dtype": dtype,
        "use_cache": True,
    }
    if architecture == "qwen2":
        config |= {"use_sliding_window": False}
    else:
        config |= {"attention_bias": "blk.0.attn_q.bias" in tensors}
    if architecture == "llama":
        config |= {"mlp_bias": "blk.0.ffn_up.bias" in tensors}
    for name in ("bos", "eos", "padding"):
        token = metadata.get(f"tokenizer.ggml.{name}_token_id", None)
        if token is not None:
            config[f"{name[:3]}_token_id"] = int(token)
    return config


def byte_level_tokenizer(metadata):
    """The fast tokenizer of a byte-level BPE vocabulary (tokenizer.ggml.model = gpt2)."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in metadata.get("tokenizer.ggml.merges")]
    kind = metadata.get("tokenizer.ggml.pre", "default")
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=merges,
            ignore_merges=kind == "llama-bpe",
        )
    )
    if kind in ("qwen2", "llama-bpe"):
        split = Regex(QWEN2_SPLIT if kind == "qwen2" else LLAMA3_SPLIT)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(split, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        if kind == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
    elif kind == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    elif kind == "gpt-2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        raise ConversionError(
            f"key tokenizer.ggml.pre: expected qwen2, llama-bpe, smollm or gpt-2, got {kind}. "
            "Copy tokenizer.json from the original model and use --no-tokenizer"
        )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if metadata.get("tokenizer.ggml.add_bos_token", kind == "llama-bpe"):
        bos = int(metadata.get("tokenizer.ggml.bos_token_id"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[bos]} $A",
            pair=f"{tokens[bos]} $A {tokens[bos]} $B",
            special_tokens=[(tokens[bos], bos)],
        )
    types = metadata.get("tokenizer.ggml.token_type", [gguf.TokenType.NORMAL] * len(tokens))
    added = [
        AddedToken(token, special=kind_ == gguf.TokenType.CONTROL, normalized=False)
        for token, kind_ in zip(tokens, types)
        if kind_ in (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    return tokenizer


def write_tokenizer(metadata, folder):
    """tokenizer.json and tokenizer_config.json, chat template included."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ConversionError(
            f"key tokenizer.ggml.model: expected gpt2 (byte-level BPE), got {kind}. "
            "Copy tokenizer.json from the original model and use --no-tokenizer"
        )
    byte_level_tokenizer(metadata).save(str(folder / "tokenizer.json"))
    tokens = metadata.get("tokenizer.ggml.tokens")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(metadata.model("context_length")),
    }
    for name in ("bos", "eos", "padding", "unknown"):
        index = metadata.get(f"tokenizer.ggml.{name}_token_id", None)
        if index is not None:
            config[f"{name[:3]}_token"] = tokens[int(index)]
    template = metadata.get("tokenizer.chat_template", None)
    if template:
        config["chat_template"] = template
    write_json(folder / "tokenizer_config.json", config)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def is_tied(tensors):
    """True when there is no head of its own: none stored, or the very bytes of the embedding."""
    if "output.weight" not in tensors:
        return True
    head, embedding = tensors["output.weight"], tensors["token_embd.weight"]
    return head.tensor_type == embedding.tensor_type and numpy.array_equal(
        head.data, embedding.data
    )


def converted_tensors(metadata, tensors, tied, dtype):
    """Yields (Hugging Face name, torch tensor) for every tensor of the GGUF."""
    permuted = {}
    if metadata.architecture == "llama":
        heads = int(metadata.model("attention.head_count"))
        permuted = {
            "attn_q": heads,
            "attn_k": int(metadata.model("attention.head_count_kv", heads)),
        }
    for name, tensor in tensors.items():
        if name == ROPE_FREQS or (tied and name == "output.weight"):
            continue
        target = hf_name(name)
        array = dequantise(tensor)
        stem = name.split(".")[2] if name.startswith("blk.") else ""
        if stem in permuted:
            array = unpermute(array, permuted[stem])
        converted = torch.from_numpy(numpy.array(array)).to(dtype)
        if not torch.isfinite(converted).all():
            raise ConversionError(
                f"tensor {name}: not finite as {str(dtype)[6:]}; use --dtype bfloat16 or float32"
            )
        yield target, converted


def write_weights(named_tensors, folder):
    """model.safetensors, or numbered shards and an index once there is more than
    MAX_SHARD_BYTES."""
    shards, shard, size = [], {}, 0

    def flush():
        path = folder / f"shard-{len(shards)}"
        save_file(shard, path, metadata={"format": "pt"})
        shards.append((path, list(shard), size))

    for name, tensor in named_tensors:
        if shard and size + tensor.nbytes > MAX_SHARD_BYTES:
            flush()
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    flush()
    if len(shards) == 1:
        shards[0][0].rename(folder / "model.safetensors")
        return
    weight_map = {}
    for index, (path, names, _) in enumerate(shards, 1):
        file = f"model-{index:05d}-of-{len(shards):05d}.safetensors"
        path.rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": sum(size for *_, size in shards)}, "weight_map": weight_map},
    )


def convert(source, target, dtype, with_tokenizer=True):
    """Writes folder `target` from GGUF file `source`; the folder appears complete or not at all."""
    source, target = pathlib.Path(source), pathlib.Path(target)
    if target.exists():
        raise ConversionError(f"{target} exists; remove it or give another folder")
    try:
        reader = gguf.GGUFReader(str(source))
    except (OSError, ValueError) as error:
        raise ConversionError(f"{source}: not a readable GGUF file ({error})") from error
    metadata = Metadata(reader)
    if metadata.architecture not in ARCHITECTURES:
        raise ConversionError(
            f"{source}: key general.architecture: expected one of {', '.join(ARCHITECTURES)}, "
            f"got {metadata.architecture}"
        )
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    for name in ("token_embd.weight", "output_norm.weight"):
        if name not in tensors:
            raise ConversionError(
                f"{source}: tensor {name} is missing. Is this one part of a split GGUF?"
            )
    tied = is_tied(tensors)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        write_json(work / "config.json", make_config(metadata, tensors, tied, dtype))
        if with_tokenizer:
            write_tokenizer(metadata, work)
        generation = {
            f"{name}_token_id": int(metadata.get(f"tokenizer.ggml.{name}_token_id"))
            for name in ("bos", "eos")
            if metadata.get(f"tokenizer.ggml.{name}_token_id", None) is not None
        }
        write_json(work / "generation_config.json", generation)
        write_weights(converted_tensors(metadata, tensors, tied, getattr(torch, dtype)), work)
        work.chmod(0o755)
        os.rename(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="IN.gguf")
    parser.add_argument("target", metavar="OUT_DIR", help="folder to make; must not exist")
    # A dequantised Q4_K or Q8_0 value is a float16 scale times a few bits: float16 (relative error
    # 2^-12) keeps it 8 times closer than bfloat16 (2^-9), and weights are far inside its range.
    parser.add_argument(
        "--dtype",
        choices=("float16", "bfloat16", "float32"),
        default="float16",
        help="storage type of every tensor (default: %(default)s)",
    )
    parser.add_argument("--no-tokenizer", action="store_true", help="write no tokenizer files")
    options = parser.parse_args(arguments)
    try:
        convert(options.source, options.target, options.dtype, not options.no_tokenizer)
    except ConversionError as error:
        print(f"convert_gguf: {error}", file=sys.stderr)
        return 1
    print(f"convert_gguf: wrote {options.target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
