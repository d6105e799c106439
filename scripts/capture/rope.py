"""Removes RoPE from cached keys with the cos and sin that the model itself computed.

Not a RoPE implementation of our own: a hook on the model's rotary module gives cos and sin of the
very forward pass that made the keys, so partial rotation, scaling and multimodal positions need no
case here. Only two things must be known, and models.py proves both by experiment: the pairing and
that every layer rotates.

Shapes:  B batch   N kv heads   T tokens   H head dim   P = rotary_dim / 2 pairs
"""

import math

import torch

from . import CaptureError

PAIRINGS = ("half", "interleaved")


class RotaryHook:
    """Collects what the rotary module of a language model returns during a forward pass."""

    def __init__(self, model, mrope_section=None):
        self._outputs = []
        self._name = type(model).__name__
        self._mrope_section = mrope_section
        modules = [
            module
            for name, module in model.named_modules()
            if "RotaryEmbedding" in type(module).__name__
            and "vision" not in f"{name} {type(module).__name__}".lower()
        ]
        if not modules:
            raise CaptureError(
                f"{self._name} has no rotary embedding module. Models with learned or ALiBi "
                "positions have no content keys in kvalign's sense and cannot be captured."
            )
        for module in modules:
            module.register_forward_hook(
                lambda _module, _inputs, output: self._outputs.append(output)
            )

    def take(self):
        """(cos, sin) of the last forward pass, each float32 [B or 1, T, P]; forgets them."""
        outputs, self._outputs = self._outputs, []
        if not outputs:
            raise CaptureError(f"{self._name}: its rotary embedding module was not called")
        cos, sin = outputs[0]
        for other_cos, _ in outputs[1:]:
            if other_cos.shape != cos.shape or not torch.equal(other_cos, cos):
                raise CaptureError(
                    f"{self._name}: its layers use more than one rotary embedding (local and "
                    "global "
                    "layers with different theta, for instance); a geometry holds one"
                )
        if cos.dim() == 4:  # Qwen2-VL: [3, B, T, 2P], one for each of time, height, width
            cos, sin = (self._merge_sections(table) for table in (cos, sin))
        return half_table(cos.float()), half_table(sin.float())

    def _merge_sections(self, table):
        """As apply_multimodal_rotary_pos_emb does: sections take turns among time, height and
        width."""
        sections = table.split(list(self._mrope_section) * 2, dim=-1)
        return torch.cat([section[index % 3] for index, section in enumerate(sections)], dim=-1)


def half_table(table):
    """[B, T, P] of a cos or sin table [B, T, 2P], whichever way the model repeats it."""
    pairs = table.shape[-1] // 2
    if torch.equal(table[..., :pairs], table[..., pairs:]):
        return table[..., :pairs]
    if torch.equal(table[..., 0::2], table[..., 1::2]):
        return table[..., 0::2]
    raise CaptureError(
        "the model's cos/sin table repeats neither by halves nor by neighbours; "
        "its rotation is not one that kvalign knows"
    )


def _split(keys, pairs, pairing):
    """The two members of each rotated pair: views of keys [..., T, 2P and more]."""
    if pairing == "half":
        return keys[..., :pairs], keys[..., pairs : 2 * pairs]
    return keys[..., 0 : 2 * pairs : 2], keys[..., 1 : 2 * pairs : 2]


def _turn(keys_BNTH, cos_BTP, sin_BTP, pairing):
    result = keys_BNTH.clone()
    first, second = _split(keys_BNTH, cos_BTP.shape[-1], pairing)
    out_first, out_second = _split(result, cos_BTP.shape[-1], pairing)
    cos, sin = cos_BTP[:, None], sin_BTP[:, None]
    out_first.copy_(first * cos - second * sin)
    out_second.copy_(second * cos + first * sin)
    return result


def rotate(keys_BNTH, cos_BTP, sin_BTP, pairing):
    """Content keys -> cached keys."""
    return _turn(keys_BNTH, cos_BTP, sin_BTP, pairing)


def unrotate(keys_BNTH, cos_BTP, sin_BTP, pairing):
    """Cached keys -> content keys, float32 [B, N, T, H].

    The inverse of [[c, -s], [s, c]] is [[c, s], [-s, c]] / (c^2 + s^2); the divisor also undoes the
    model's attention scaling, and the rounding of cos and sin in a bfloat16 model.
    """
    norm = cos_BTP.square() + sin_BTP.square()
    return _turn(keys_BNTH.float(), cos_BTP / norm, -sin_BTP / norm, pairing)


def read_rope(config, rotary_dim, pairing):
    """`rope` of the geometry from a text config, in the form of transformers 4.x or 5.x."""
    parameters = (
        getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    )
    if parameters and all(isinstance(value, dict) for value in parameters.values()):
        raise CaptureError(
            f"{config.model_type}: rope_parameters differ by layer type ({', '.join(parameters)}); "
            "a geometry holds one"
        )
    theta = (
        parameters.get("rope_theta")
        or getattr(config, "rope_theta", None)
        or getattr(config, "rotary_emb_base", None)
    )
    if theta is None:
        raise CaptureError(f"{config.model_type}: found no rope_theta in its config")
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind == "mrope":  # the name in transformers 4.x; a default RoPE with three positions a token
        kind = "default"
    fields = {
        "default": (),
        "linear": ("factor",),
        "llama3": (
            "factor",
            "low_freq_factor",
            "high_freq_factor",
            "original_max_position_embeddings",
        ),
    }
    if kind not in fields:
        raise CaptureError(
            f"{config.model_type}: RoPE scaling '{kind}' cannot be applied again by kvalign; "
            f"expected one of {', '.join(fields)}"
        )
    scaling = {"type": kind} | {field: parameters[field] for field in fields[kind]}
    return {"theta": float(theta), "pairing": pairing, "rotary_dim": rotary_dim, "scaling": scaling}


def frequencies(rope):
    """Radians a token of each pair, float64 [P]: what a reader of the geometry will compute."""
    scaling, rotary_dim = rope["scaling"], rope["rotary_dim"]
    result = rope["theta"] ** (-torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim)
    if scaling["type"] == "linear":
        return result / scaling["factor"]
    if scaling["type"] == "llama3":
        original, low, high = (
            scaling[key]
            for key in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
        )
        smooth = ((original * result / (2 * math.pi) - low) / (high - low)).clamp(0, 1)
        return (1 - smooth) * result / scaling["factor"] + smooth * result
    return result


def check_frequencies(rope, cos_BTP, sin_BTP, first_position):
    """The geometry must say what the model did, or nobody can turn the content keys back."""
    tokens = cos_BTP.shape[1]
    angles = torch.outer(
        torch.arange(first_position, first_position + tokens, dtype=torch.float64),
        frequencies(rope),
    )
    error = max(
        float((cos_BTP[0].double() - angles.cos()).abs().max()),
        float((sin_BTP[0].double() - angles.sin()).abs().max()),
    )
    if error > 1e-2:  # bfloat16 tables are off by 2^-9
        raise CaptureError(
            f"the model's cos and sin differ by {error:.3g} from those of its config ({rope}); "
            "this RoPE variant is not supported"
        )
