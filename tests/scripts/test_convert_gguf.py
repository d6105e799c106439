"""convert_gguf.py on tiny GGUF files written here: the folder must hold the weights they were made
from."""

import json

import numpy
import pytest

torch = pytest.importorskip(
    "torch", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)
pytest.importorskip(
    "transformers", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)
gguf = pytest.importorskip(
    "gguf", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)

import convert_gguf
import transformers
from tiny_models import make_text, make_tokenizer, text_config

GGUF_NAMES = {value: key for key, value in convert_gguf.LAYER_TENSORS.items()}
GGUF_GLOBALS = {value: key for key, value in convert_gguf.GLOBAL_TENSORS.items()}


def gguf_name(name):
    if name in GGUF_GLOBALS:
        return GGUF_GLOBALS[name]
    _, _, layer, *stem, kind = name.split(".")
    return f"blk.{layer}.{GGUF_NAMES['.'.join(stem)]}.{kind}"


def permute(array, heads):
    """Row order of llama GGUFs, as convert_hf_to_gguf.py of llama.cpp writes it."""
    rows = array.shape[0]
    return (
        array.reshape(heads, 2, rows // heads // 2, *array.shape[1:])
        .swapaxes(1, 2)
        .reshape(array.shape)
    )


def tiny_model(architecture, **changes):
    config_class = {
        "llama": transformers.LlamaConfig,
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
    }[architecture]
    if architecture == "qwen3":
        changes |= {"head_dim": 16}
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(text_config(config_class, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.float().eval()


def write_gguf(path, model, architecture, tokenizer=None, quantise=False, extra=None, scaling=None):
    """A GGUF of an HF model, as llama.cpp lays it out."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(20000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling))
        writer.add_rope_scaling_factor(4.0)
    if tokenizer:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        special = {token["content"] for token in backend["added_tokens"]}
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        unused = [
            f"[PAD{index}]" for index in range(len(vocabulary), config.vocab_size)
        ]  # as llama.cpp pads
        types = [
            gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL
            for token, _ in vocabulary
        ]
        writer.add_token_list([token for token, _ in vocabulary] + unused)
        writer.add_token_types(types + [gguf.TokenType.UNUSED] * len(unused))
        writer.add_token_merges([" ".join(merge) for merge in backend["model"]["merges"]])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
    heads = {
        "self_attn.q_proj": config.num_attention_heads,
        "self_attn.k_proj": config.num_key_value_heads,
    }
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = tensor.numpy()
        for stem, count in heads.items():
            if architecture == "llama" and stem in name:
                array = permute(array, count)
        if quantise and array.ndim == 2 and "embed" not in name:
            writer.add_tensor(
                gguf_name(name),
                gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0),
                raw_dtype=gguf.GGMLQuantizationType.Q8_0,
            )
        else:
            writer.add_tensor(gguf_name(name), array)
    for name, array in (extra or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    "architecture,changes",
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"attention_bias": True}),
        ("qwen2", {}),
        ("qwen3", {}),
    ],
)
def test_weights_come_back(tmp_path, architecture, changes):
    """Row order, biases, QK norms and the head; then the logits, which also need the config
    right."""
    model = tiny_model(
        architecture, rope_parameters={"rope_type": "default", "rope_theta": 20000.0}, **changes
    )
    write_gguf(tmp_path / "m.gguf", model, architecture)
    convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float32", with_tokenizer=False)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert loaded.config.tie_word_embeddings == model.config.tie_word_embeddings
    for name, expected in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], expected), name
    ids = torch.arange(20)[None] + 5
    assert torch.equal(loaded(ids).logits, model(ids).logits)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_same_logits_as_transformers_own_loader(tmp_path, architecture):
    """An independent reader of the same quantised file."""
    write_gguf(
        tmp_path / "m.gguf", tiny_model(architecture), architecture, make_tokenizer(), quantise=True
    )
    convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float32")
    ours = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="m.gguf", dtype=torch.float32
    ).eval()
    ids = torch.arange(20)[None] + 5
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_tokenizer_makes_the_same_tokens(tmp_path):
    tokenizer = make_tokenizer()
    write_gguf(tmp_path / "m.gguf", tiny_model("qwen2"), "qwen2", tokenizer)
    convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float16")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    text = make_text(50, 9) + "<|end|> Umlaute: \u00e4\u00f6\u00fc, 123  \n"
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.eos_token == "<|end|>"


def test_float16_is_the_default_and_rounds_to_nearest(tmp_path):
    model = tiny_model("qwen2")
    write_gguf(tmp_path / "m.gguf", model, "qwen2", make_tokenizer())
    assert convert_gguf.main([str(tmp_path / "m.gguf"), str(tmp_path / "hf")]) == 0
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype="auto")
    assert loaded.dtype == torch.float16
    name = "model.layers.1.self_attn.k_proj.bias"
    assert torch.equal(loaded.state_dict()[name], model.state_dict()[name].half())


def test_large_models_are_sharded(tmp_path, monkeypatch):
    monkeypatch.setattr(convert_gguf, "MAX_SHARD_BYTES", 100_000)
    model = tiny_model("qwen2")
    write_gguf(tmp_path / "m.gguf", model, "qwen2")
    convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float32", with_tokenizer=False)
    files = sorted(path.name for path in (tmp_path / "hf").glob("*.safetensors"))
    assert len(files) > 1 and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_llama3_scaling_is_recovered(tmp_path):
    model = tiny_model("llama")
    factors = convert_gguf.llama3_factors(16, 20000.0, 8.0, 1.0, 4.0, 8192).astype(numpy.float32)
    write_gguf(tmp_path / "m.gguf", model, "llama", extra={"rope_freqs.weight": factors})
    convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float32", with_tokenizer=False)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def test_linear_scaling_is_kept(tmp_path):
    write_gguf(tmp_path / "m.gguf", tiny_model("llama"), "llama", scaling="linear")
    convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float32", with_tokenizer=False)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}


@pytest.mark.parametrize(
    "change,text",
    [
        (
            {"extra": {"blk.0.ffn_gate_exps.weight": numpy.zeros((2, 2), numpy.float32)}},
            "tensor blk.0.ffn_gate_exps.weight has no Hugging Face counterpart",
        ),
        (
            {"extra": {"rope_freqs.weight": numpy.array([1, 2, 3, 4, 5, 6, 7, 9], numpy.float32)}},
            "tensor rope_freqs.weight does not follow Llama 3",
        ),
        ({"scaling": "yarn"}, "key llama.rope.scaling.type: expected none or linear, got yarn"),
    ],
)
def test_what_it_does_not_understand_is_an_error(tmp_path, change, text):
    write_gguf(tmp_path / "m.gguf", tiny_model("llama"), "llama", **change)
    with pytest.raises(convert_gguf.ConversionError, match=text):
        convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float32", with_tokenizer=False)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"], (
        "an error must leave nothing behind"
    )


def test_overflow_names_the_tensor(tmp_path):
    model = tiny_model("qwen2")
    model.state_dict()["model.layers.0.self_attn.k_proj.bias"][3] = 1e6
    write_gguf(tmp_path / "m.gguf", model, "qwen2")
    with pytest.raises(
        convert_gguf.ConversionError,
        match="tensor blk.0.attn_k.bias: not finite as float16; use --dtype bfloat16",
    ):
        convert_gguf.convert(tmp_path / "m.gguf", tmp_path / "hf", "float16", with_tokenizer=False)


def test_wrong_files_are_named(tmp_path, capsys):
    (tmp_path / "m.gguf").write_bytes(b"not a model, but long enough to be read as a header")
    assert convert_gguf.main([str(tmp_path / "m.gguf"), str(tmp_path / "hf")]) == 1
    assert "m.gguf: not a readable GGUF file" in capsys.readouterr().err
    assert convert_gguf.main([str(tmp_path / "m.gguf"), str(tmp_path)]) == 1
    assert "exists; remove it" in capsys.readouterr().err
    writer = gguf.GGUFWriter(str(tmp_path / "other.gguf"), "gptneox")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert convert_gguf.main([str(tmp_path / "other.gguf"), str(tmp_path / "hf")]) == 1
    assert (
        "general.architecture: expected one of llama, qwen2, qwen3, got gptneox"
        in capsys.readouterr().err
    )
