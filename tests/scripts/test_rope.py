"""Removing RoPE: every supported family's own rotation is undone, and what cannot be undone is
refused."""

import json
import pathlib

import pytest

torch = pytest.importorskip(
    "torch", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)
transformers = pytest.importorskip(
    "transformers", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)

from capture import CaptureError, models, rope
from safetensors import safe_open
from tiny_models import save_model, text_config

# In the form of transformers 4.x, which 5.x reads too.
LLAMA3 = {
    "rope_theta": 5e5,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    },
}
LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}
YARN = {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
# family -> (config, expected pairing, rotary_dim, head_dim)
FAMILIES = {
    "llama": (lambda: text_config(transformers.LlamaConfig), "half", 16, 16),
    "llama3": (lambda: text_config(transformers.LlamaConfig, **LLAMA3), "half", 16, 16),
    "linear": (lambda: text_config(transformers.LlamaConfig, **LINEAR), "half", 16, 16),
    "qwen2": (lambda: text_config(transformers.Qwen2Config), "half", 16, 16),
    "qwen3": (lambda: text_config(transformers.Qwen3Config, head_dim=32), "half", 32, 32),
    "gpt_neox": (
        lambda: text_config(transformers.GPTNeoXConfig, num_key_value_heads=4),
        "half",
        4,
        16,
    ),
    "phi": (lambda: text_config(transformers.PhiConfig), "half", 8, 16),
    "cohere": (lambda: text_config(transformers.CohereConfig), "interleaved", 16, 16),
    "glm": (lambda: text_config(transformers.GlmConfig, head_dim=16), "interleaved", 8, 16),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_before_rope_are_recovered(tmp_path, family, monkeypatch):
    """The reference is what the model passes into its own rotation function, layer by layer."""
    config, pairing, rotary_dim, head_dim = FAMILIES[family]
    model = models.CacheModel(save_model(tmp_path, config()))
    assert model.geometry["rope"]["pairing"] == pairing
    assert model.geometry["rope"]["rotary_dim"] == rotary_dim
    assert model.geometry["head_dim"] == head_dim
    assert model.probe_error < 1e-5
    module = __import__(type(model._model).__module__, fromlist=["apply_rotary_pos_emb"])
    before, apply = [], module.apply_rotary_pos_emb
    monkeypatch.setattr(
        module,
        "apply_rotary_pos_emb",
        lambda q, k, *rest, **named: (before.append(k), apply(q, k, *rest, **named))[1],
    )
    layers = model.run({"input_ids": torch.arange(3, 43).reshape(2, 20)})
    assert len(before) == len(layers) == 2
    for expected, (keys, _) in zip(before, layers):
        torch.testing.assert_close(keys[..., : expected.shape[-1]], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_rotating_back_gives_the_cached_keys(tmp_path, family):
    model = models.CacheModel(save_model(tmp_path, FAMILIES[family][0]()))
    layers, cos, sin = model._forward({"input_ids": torch.arange(3, 43).reshape(2, 20)})
    for keys, _ in layers:
        content = rope.unrotate(keys, cos, sin, model._pairing)
        torch.testing.assert_close(
            rope.rotate(content, cos, sin, model._pairing), keys, rtol=1e-5, atol=1e-6
        )
        assert not torch.allclose(content, keys, atol=1e-2), "the keys were not rotated at all"


def test_attention_scaling_is_undone():
    """YaRN multiplies cos and sin by a constant; the content keys must not keep it."""
    angles = torch.rand(1, 5, 4) * 6
    keys, scale = torch.randn(1, 2, 5, 8), 1.2
    for pairing in rope.PAIRINGS:
        rotated = rope.rotate(keys, scale * angles.cos(), scale * angles.sin(), pairing)
        torch.testing.assert_close(
            rope.unrotate(rotated, scale * angles.cos(), scale * angles.sin(), pairing), keys
        )


def test_golden_file_agrees_with_the_geometry():
    """tests/golden/rope.safetensors, which the C++ tests read: frequencies from the parameters turn
    its keys."""
    path = pathlib.Path(__file__).resolve().parents[1] / "golden" / "rope.safetensors"
    with safe_open(path, "pt") as golden:
        for case in json.loads(golden.metadata()["cases"]):
            keys, rotated, positions = (
                golden.get_tensor(f"{case['name']}.{part}")
                for part in ("keys", "rotated", "positions")
            )
            angles = torch.outer(positions.double(), rope.frequencies(case))[None]
            ours = rope.rotate(
                keys.transpose(0, 1)[None].double(), angles.cos(), angles.sin(), case["pairing"]
            )
            tolerance = (
                float(positions.max()) * 2**-23 * float(keys.abs().max()) * 4
            )  # angle in float32: see make_rope.py
            torch.testing.assert_close(
                ours[0].transpose(0, 1), rotated.double(), rtol=0, atol=tolerance
            )


@pytest.mark.parametrize(
    "config,text",
    [
        (
            lambda: text_config(transformers.LlamaConfig, **YARN),
            "RoPE scaling 'yarn' cannot be applied again",
        ),
        (
            lambda: text_config(transformers.SmolLM3Config, no_rope_layers=[1, 0]),
            "content keys of layer 1 change",
        ),
        (
            lambda: transformers.GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4),
            "has no rotary embedding module",
        ),
        (
            lambda: text_config(
                transformers.Gemma3TextConfig,
                head_dim=16,
                layer_types=["sliding_attention", "full_attention"],
            ),
            "more than one rotary embedding|tensors are missing",
        ),  # the latter in 4.56
    ],
)
def test_models_that_cannot_be_captured_are_refused(tmp_path, config, text):
    with pytest.raises(CaptureError, match=text):
        models.CacheModel(save_model(tmp_path, config()))


def test_config_of_transformers_4_is_read():
    class Config:
        model_type, rope_theta, rope_scaling = "qwen2", 1e6, {"type": "linear", "factor": 2.0}

    assert rope.read_rope(Config, 64, "half") == {
        "theta": 1e6,
        "pairing": "half",
        "rotary_dim": 64,
        "scaling": {"type": "linear", "factor": 2.0},
    }


def test_a_geometry_that_contradicts_the_model_is_refused():
    geometry = {"theta": 1e4, "pairing": "half", "rotary_dim": 8, "scaling": {"type": "default"}}
    angles = torch.outer(torch.arange(10, dtype=torch.float64), rope.frequencies(geometry))[None]
    rope.check_frequencies(geometry, angles.cos(), angles.sin(), 0)
    with pytest.raises(CaptureError, match="differ by .* from those of its config"):
        rope.check_frequencies(geometry | {"theta": 2e4}, angles.cos(), angles.sin(), 0)


def test_sliding_window_layers_are_recorded(tmp_path):
    config = text_config(
        transformers.Qwen2Config, use_sliding_window=True, sliding_window=64, max_window_layers=1
    )
    geometry = models.CacheModel(save_model(tmp_path, config)).geometry
    assert (geometry["sliding_window"], geometry["sliding_window_layers"]) == (64, [1])
    mistral = text_config(transformers.MistralConfig, sliding_window=32)
    assert models.sliding_window(mistral) == (32, [0, 1])
    assert models.sliding_window(text_config(transformers.Qwen2Config)) == (0, [])
