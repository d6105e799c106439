"""One model of a capture: loads a Hugging Face folder, proves how it rotates keys, and runs
prefills.

The base model is run, without its head: logits are not needed. A cache comes back as float32
content keys and values. Nothing is assumed about the family: see `CacheModel._probe`.

Shapes:  B batch   N kv heads   T tokens   H head dim
"""

import hashlib
import json
import pathlib

import torch
import transformers

from . import CaptureError, rope, store, tokens

PROBE_TOKENS = 24
PROBE_SHIFT = 101
# Relative error of content keys under a shift of all positions: rounding gives 1e-5 in float32 and
# about 1e-2 in bfloat16; a wrong pairing or an unrotated layer gives 0.1 and more.
PROBE_TOLERANCE = {torch.float32: 2e-3, torch.float16: 3e-2, torch.bfloat16: 6e-2}


def load_tokenizer(folder):
    return _from_pretrained(transformers.AutoTokenizer, folder)


def _from_pretrained(auto_class, folder, **arguments):
    if not (pathlib.Path(folder) / "config.json").is_file():
        raise CaptureError(
            f"{folder}: expected a Hugging Face folder with config.json, found none. "
            "convert_gguf.py makes one from a GGUF file."
        )
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, **arguments)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise CaptureError(f"{folder}: {auto_class.__name__} cannot load it: {error}") from error


def tokenizer_digest(tokenizer):
    """SHA-256 of what decides the token ids, whatever the formatting of tokenizer.json."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # a tokenizer written in Python
        content = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return tokens.backend_digest(backend)


def weights_digest(folder):
    """SHA-256 of the weights file; of the digests in order of name when there are several."""
    files = sorted(pathlib.Path(folder).glob("*.safetensors")) or sorted(
        pathlib.Path(folder).glob("*.bin")
    )
    if not files:
        raise CaptureError(f"{folder}: expected weights (*.safetensors), found none")
    digests = [store.sha256_of(file) for file in files]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def sliding_window(config):
    """(window in tokens, layers that have it); (0, []) without one."""
    window = getattr(config, "sliding_window", None) or 0
    layers = range(config.num_hidden_layers)
    types = getattr(config, "layer_types", None)
    if types:
        sliding = [layer for layer in layers if types[layer] == "sliding_attention"]
    else:
        sliding = list(layers) if window and getattr(config, "use_sliding_window", True) else []
    return (int(window), sliding) if window and sliding else (0, [])


class CacheModel:
    """A loaded model and its geometry (the dataset's GEOMETRY object, measured, not only read from
    the config)."""

    def __init__(self, folder, compute_dtype=torch.float32, device="cpu"):
        self.folder = str(folder)
        self._full_config = _from_pretrained(transformers.AutoConfig, folder)
        self._config = self._full_config.get_text_config(decoder=True)
        self._device, self._dtype = device, compute_dtype
        self._model, loading = _from_pretrained(
            transformers.AutoModel, folder, dtype=compute_dtype, output_loading_info=True
        )
        if loading["missing_keys"]:  # transformers fills these with random numbers and only warns
            missing = sorted(loading["missing_keys"])
            raise CaptureError(
                f"{folder}: {len(missing)} tensors are missing from its weights, first {missing[0]}"
            )
        self._model.eval().to(device)
        parameters = (
            getattr(self._config, "rope_parameters", None)
            or getattr(self._config, "rope_scaling", None)
            or {}
        )
        self.mrope_section = parameters.get("mrope_section")
        self._hook = rope.RotaryHook(self._model, self.mrope_section)
        self._pairing = None
        self.geometry, self.probe_error = self._probe()

    def release(self):
        """Frees the weights; geometry and probe results stay."""
        self._model = self._hook = None

    def _forward(self, inputs):
        """[(cached keys, values)] of every layer [B, N, T, H], and (cos, sin)."""
        cache = (
            transformers.DynamicCache()
        )  # given, and without a config: it keeps all tokens of sliding layers too
        inputs = {name: tensor.to(self._device) for name, tensor in inputs.items()}
        with torch.inference_mode():
            self._model(**inputs, past_key_values=cache, use_cache=True)
        cos, sin = self._hook.take()
        return [(layer.keys, layer.values) for layer in cache.layers], cos, sin

    def run(self, inputs):
        """Prefill of model inputs (input_ids [B, T], right-padded: a causal model's real tokens do
        not see the padding). Returns [(content keys, values)] of every layer, float32 [B, N, T,
        H]."""
        layers, cos, sin = self._forward(inputs)
        return [
            (rope.unrotate(keys, cos, sin, self._pairing), values.float())
            for keys, values in layers
        ]

    def _probe(self):
        """Finds pairing and geometry by experiment; returns (geometry, largest relative error).

        RoPE is relative: moving every position by a constant changes nothing but the angles of
        cached keys. So content keys of one text at two offsets agree in every layer exactly when
        the rotation was removed correctly: right pairing, right rotary_dim, right cos and sin, and
        no layer without RoPE.
        """
        generator = torch.Generator().manual_seed(1)
        special = {
            value
            for config in (self._full_config, self._config)
            for key, value in vars(config).items()
            if key.endswith(("_token_id", "_token_index")) and isinstance(value, int)
        }  # no image without pixels
        ids = [
            token
            for token in torch.randint(
                self._config.vocab_size, (4 * PROBE_TOKENS,), generator=generator
            ).tolist()
            if token not in special
        ][:PROBE_TOKENS]
        runs = []
        for shift in (0, PROBE_SHIFT):
            positions = torch.arange(shift, shift + len(ids))[None]
            runs.append(
                self._forward({"input_ids": torch.tensor([ids]), "position_ids": positions})
            )
        errors = {pairing: self._shift_errors(runs, pairing) for pairing in rope.PAIRINGS}
        self._pairing = min(errors, key=lambda pairing: max(errors[pairing]))
        worst = max(errors[self._pairing])
        if not worst <= PROBE_TOLERANCE[self._dtype]:
            layer = errors[self._pairing].index(worst)
            raise CaptureError(
                f"{self.folder}: RoPE could not be removed from its keys: content keys of layer "
                f"{layer} change by "
                f"{worst:.2g} (relative) when all positions move, expected at most "
                f"{PROBE_TOLERANCE[self._dtype]:g}. "
                "Layers without RoPE, several RoPEs and compressed (MLA) caches are not supported."
            )
        layers, cos, sin = runs[1]
        geometry = self._geometry(layers, 2 * cos.shape[-1])
        rope.check_frequencies(geometry["rope"], cos.cpu(), sin.cpu(), PROBE_SHIFT)
        return geometry, worst

    @staticmethod
    def _shift_errors(runs, pairing):
        (first, first_cos, first_sin), (second, second_cos, second_sin) = runs
        errors = []
        for (keys, _), (shifted, _) in zip(first, second):
            content = rope.unrotate(keys, first_cos, first_sin, pairing)
            moved = rope.unrotate(shifted, second_cos, second_sin, pairing)
            errors.append(float((moved - content).norm() / content.norm()))
        return errors

    def _geometry(self, layers, rotary_dim):
        shapes = {tuple(tensor.shape) for pair in layers for tensor in pair}
        if len(shapes) != 1:
            raise CaptureError(
                f"{self.folder}: expected keys and values of one shape in all layers, got "
                f"{sorted(shapes)}; "
                "a geometry holds one number of KV heads and one head_dim"
            )
        ((_, num_kv_heads, _, head_dim),) = shapes
        window, sliding_layers = sliding_window(self._config)
        return {
            "model": pathlib.Path(self.folder).resolve().name,
            "num_layers": len(layers),
            "num_kv_heads": num_kv_heads,
            "head_dim": head_dim,
            "rope": rope.read_rope(self._config, rotary_dim, self._pairing),
            "sliding_window": window,
            "sliding_window_layers": sliding_layers,
        }


class ItemEncoder:
    """Image-text pairs -> model inputs, with the processor of one model's folder."""

    def __init__(self, folder):
        self._folder = folder
        self._processor = _from_pretrained(transformers.AutoProcessor, folder)
        self._image_token = getattr(self._processor, "image_token", None)
        if self._image_token is None:
            raise CaptureError(
                f"{folder}: its processor has no image_token; expected a vision-language model for "
                "--format image-text"
            )

    def encode(self, item):
        """Inputs of one pair, tensors with a batch of 1. A text without the image token gets it in
        front."""
        from PIL import Image, UnidentifiedImageError

        try:
            image = Image.open(item["image"]).convert("RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise CaptureError(f"{item['image']}: not a readable image ({error})") from error
        text = (
            item["text"]
            if self._image_token in item["text"]
            else f"{self._image_token}\n{item['text']}"
        )
        inputs = dict(self._processor(images=[image], text=[text], return_tensors="pt"))
        inputs.pop("attention_mask", None)  # one pair at a time: nothing is padded
        return inputs
