"""Capture of vision-language models, on tiny random LLaVA and Qwen2-VL models. No accuracy is
claimed by this."""

import json

import pytest

torch = pytest.importorskip(
    "torch", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)
transformers = pytest.importorskip(
    "transformers", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)

import annotations
import capture_hf
from capture import CaptureError, models
from PIL import Image
from safetensors.torch import load_file
from tiny_models import make_text, make_tokenizer, save_model, text_config

IMAGE_TOKEN = 3


def save_llava(folder, num_layers, seed, image_size=28):
    """LLaVA: (image_size / 14)^2 image tokens in front of a Llama decoder."""
    vision = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=image_size,
        patch_size=14,
        projection_dim=32,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text_config(transformers.LlamaConfig, num_hidden_layers=num_layers),
        image_token_id=IMAGE_TOKEN,
        image_token_index=IMAGE_TOKEN,
    )
    save_model(folder, config, seed, transformers.AutoModelForImageTextToText)
    size = {"height": image_size, "width": image_size}
    pixels = transformers.CLIPImageProcessor(size=size, crop_size=size)
    transformers.LlavaProcessor(
        image_processor=pixels,
        tokenizer=make_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def pairs(tmp_path):
    """JSONL of three generated images with texts."""
    lines = []
    for index in range(3):
        Image.effect_noise((40, 30), 20 + 30 * index).convert("RGB").save(tmp_path / f"{index}.png")
        lines.append(json.dumps({"image": f"{index}.png", "text": make_text(20, index)}))
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(lines))
    return path


def run(sender, receiver, pairs, output, *more):
    return capture_hf.main(
        [
            "--sender",
            str(sender),
            "--receiver",
            str(receiver),
            "--input",
            str(pairs),
            "--format",
            "image-text",
            "--output",
            str(output),
            "--sequences",
            "3",
            "--tokens",
            "128",
            "--dtype",
            "float32",
            *more,
        ]
    )


def test_image_text_pairs_are_captured(tmp_path, pairs):
    sender, receiver = save_llava(tmp_path / "small", 2, 1), save_llava(tmp_path / "large", 3, 2)
    assert run(sender, receiver, pairs, tmp_path / "d") == 0
    index = json.loads((tmp_path / "d" / "index.json").read_text())
    assert (
        index["receiver"]["geometry"]["num_layers"] == 3
        and index["sender"]["geometry"]["head_dim"] == 16
    )
    shard = load_file(tmp_path / "d" / index["shards"][0]["file"])
    offsets = shard["sequence_offsets"].tolist()
    processor = transformers.AutoProcessor.from_pretrained(receiver)
    model = transformers.AutoModel.from_pretrained(receiver).eval()
    for begin, end, document in zip(offsets, offsets[1:], shard["document_ids"].tolist()):
        tokens = shard["token_ids"][begin:end]
        assert (tokens == IMAGE_TOKEN).sum() == 4
        item = json.loads(pairs.read_text().splitlines()[document])
        inputs = processor(
            images=[Image.open(pairs.parent / item["image"]).convert("RGB")],
            text=["<image>\n" + item["text"]],
            return_tensors="pt",
        )
        with torch.no_grad():
            cache = model(**inputs, use_cache=True).past_key_values
        assert inputs["input_ids"][0].tolist() == tokens.tolist()
        expected = cache.layers[2].values[0].transpose(0, 1)
        torch.testing.assert_close(
            shard["receiver.values.2"][begin:end], expected, rtol=1e-4, atol=1e-5
        )


def test_labels_and_shared_documents_are_kept(tmp_path, pairs):
    model = save_llava(tmp_path / "m", 2, 1)
    lines = [json.loads(line) for line in pairs.read_text().splitlines()]
    for label, document, line in zip((2, 0, 1), ("a clip", "another", "a clip"), lines):
        line |= {"label": label, "document": document, "text": "the cache of a model"}
    pairs.write_text("\n".join(json.dumps(line) for line in lines))
    assert run(model, model, pairs, tmp_path / "d", "--label-field", "label") == 0
    index = json.loads((tmp_path / "d" / "index.json").read_text())
    assert index["source"]["label_field"] == "label" and len(index["documents"]) == 2
    shard = load_file(tmp_path / "d" / index["shards"][0]["file"])
    assert shard["labels"].dtype == torch.int64
    found = sorted(zip(shard["document_ids"].tolist(), shard["labels"].tolist()))
    assert found == [(0, 1), (0, 2), (1, 0)]


def test_annotations_become_a_labelled_dataset(tmp_path, pairs):
    """annotations.py to capture_hf.py; the images are noise, so only the labels mean anything."""
    for clip, start in (("A", 1), ("B", 3)):
        rows = [f"1 9 {frame} 0 0 9 9 {start + (frame > 3)}\n" for frame in range(8)]
        (tmp_path / f"{clip}.viratdata.objects.txt").write_text("".join(rows))
        for frame in (2, 6):
            Image.effect_noise((40, 30), 50 + frame).convert("RGB").save(
                tmp_path / f"{clip}{frame}.jpg"
            )
    made = ["virat", "--input", *map(str, sorted(tmp_path.glob("*.objects.txt")))]
    made += ["--frames", f"{tmp_path}/{{clip}}{{frame}}.jpg", "--span", "4"]
    assert annotations.main([*made, "--output", str(tmp_path / "samples.jsonl")]) == 0
    model = save_llava(tmp_path / "m", 2, 1)
    labelled = ("--label-field", "label", "--sequences", "4")
    assert run(model, model, tmp_path / "samples.jsonl", tmp_path / "d", *labelled) == 0
    index = json.loads((tmp_path / "d" / "index.json").read_text())
    shard = load_file(tmp_path / "d" / index["shards"][0]["file"])
    found = sorted(zip(shard["document_ids"].tolist(), shard["labels"].tolist()))
    assert found == [(0, 0), (0, 1), (1, 2), (1, 3)]


def test_another_image_or_label_is_another_capture(tmp_path, pairs, capsys):
    """Its tokens are the same: the text is, and the number of image tokens."""
    model = save_llava(tmp_path / "m", 2, 1)
    lines = [json.loads(line) | {"label": 1} for line in pairs.read_text().splitlines()]
    pairs.write_text("\n".join(json.dumps(line) for line in lines))
    labelled = ("--label-field", "label")
    assert run(model, model, pairs, tmp_path / "d", *labelled) == 0
    assert run(model, model, pairs, tmp_path / "d") == 1
    Image.effect_noise((40, 30), 99).convert("RGB").save(tmp_path / "0.png")
    assert run(model, model, pairs, tmp_path / "d", *labelled) == 1
    assert capsys.readouterr().err.count("holds a capture of other models, text or options") == 2


def test_processors_must_agree_on_the_tokens(tmp_path, pairs, capsys):
    sender, receiver = (
        save_llava(tmp_path / "small", 2, 1),
        save_llava(tmp_path / "large", 3, 2, image_size=42),
    )
    assert run(sender, receiver, pairs, tmp_path / "d") == 1
    assert (
        "the receiver's processor makes other tokens of it than the sender's"
        in capsys.readouterr().err
    )


def test_text_models_have_no_images(tmp_path, pairs, capsys):
    folder = save_model(tmp_path / "m", text_config(transformers.LlamaConfig))
    assert run(folder, folder, pairs, tmp_path / "d") == 1
    assert "expected a vision-language model for --format image-text" in capsys.readouterr().err


def test_unreadable_image_is_named(tmp_path, pairs):
    (tmp_path / "0.png").write_bytes(b"not a picture")
    encoder = models.ItemEncoder(save_llava(tmp_path / "m", 2, 1))
    with pytest.raises(CaptureError, match="0.png: not a readable image"):
        encoder.encode({"image": str(tmp_path / "0.png"), "text": "the cache"})


def test_multimodal_rope_is_removed(tmp_path, monkeypatch):
    """Qwen2-VL turns keys by time, height and width; the reference is what it passes into its own
    rotation."""
    config = transformers.Qwen2VLConfig(
        text_config=dict(
            vocab_size=320,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            rope_theta=1e4,
            rope_scaling={"rope_type": "default", "mrope_section": [2, 3, 3]},
        ),
        vision_config=dict(
            depth=1,
            embed_dim=32,
            hidden_size=64,
            num_heads=2,
            mlp_ratio=1,
            patch_size=4,
            spatial_merge_size=2,
            temporal_patch_size=1,
        ),
        image_token_id=IMAGE_TOKEN,
        video_token_id=4,
        vision_start_token_id=5,
        vision_end_token_id=6,
    )
    model = models.CacheModel(
        save_model(tmp_path, config, 1, transformers.AutoModelForImageTextToText)
    )
    assert model.geometry["rope"] == {
        "theta": 1e4,
        "pairing": "half",
        "rotary_dim": 16,
        "scaling": {"type": "default"},
    }
    assert list(model.mrope_section) == [2, 3, 3]
    from transformers.models.qwen2_vl import modeling_qwen2_vl as module

    before, apply = [], module.apply_multimodal_rotary_pos_emb
    monkeypatch.setattr(
        module,
        "apply_multimodal_rotary_pos_emb",
        lambda q, k, *rest, **named: (before.append(k), apply(q, k, *rest, **named))[1],
    )
    ids = torch.tensor([[9, 5] + [IMAGE_TOKEN] * 4 + [6] + list(range(20, 40))])
    inputs = {
        "input_ids": ids,
        "pixel_values": torch.randn(16, 3 * 16),
        "image_grid_thw": torch.tensor([[1, 4, 4]]),
        "mm_token_type_ids": (ids == IMAGE_TOKEN).int(),
    }
    for expected, (keys, _) in zip(before, model.run(inputs), strict=False):
        torch.testing.assert_close(keys, expected, rtol=1e-4, atol=1e-5)
    assert len(before) == 2
