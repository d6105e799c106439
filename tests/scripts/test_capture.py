"""capture_hf.py from end to end on tiny random models: the dataset's files, documents, resuming,
and what it refuses."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip(
    "torch", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)
transformers = pytest.importorskip(
    "transformers", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)

import capture_hf
from capture import CaptureError, inputs, store
from safetensors.torch import load_file
from tiny_models import make_text, make_tokenizer, save_model, text_config

SCRIPT = pathlib.Path(capture_hf.__file__)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Sender (2 layers, heads of 8), receiver (3 layers, heads of 16), and a folder of 6 texts."""
    root = tmp_path_factory.mktemp("models")
    save_model(root / "small", text_config(transformers.Qwen2Config, hidden_size=32), seed=1)
    save_model(root / "large", text_config(transformers.LlamaConfig, num_hidden_layers=3), seed=2)
    (root / "text").mkdir()
    for index in range(6):
        (root / "text" / f"{index}.txt").write_text(make_text(60, index))
    return root


def command(folders, output, **changes):
    options = {
        "sender": folders / "small",
        "receiver": folders / "large",
        "input": folders / "text",
        "output": output,
        "sequences": 10,
        "tokens": 24,
        "batch-size": 3,
        "shard-sequences": 4,
        "dtype": "float32",
    } | changes
    arguments = []
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            arguments += [f"--{name}"] + ([] if item is True else [str(item)])
    return arguments


def run(folders, output, **changes):
    return capture_hf.main(command(folders, output, **changes))


def read(folder):
    index = json.loads((folder / "index.json").read_text())
    return index, [load_file(folder / shard["file"]) for shard in index["shards"]]


def test_dataset_follows_the_format(folders, tmp_path):
    assert run(folders, tmp_path / "d") == 0
    index, shards = read(tmp_path / "d")
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "index.json",
        *(f"pairs-0000{n}-of-00003.safetensors" for n in (1, 2, 3)),
    ]
    assert (index["schema"], index["layout"], index["num_sinks"]) == (1, "layers", 4)
    assert (index["num_sequences"], index["num_tokens"]) == (10, 240)
    assert index["receiver"]["geometry"] == {
        "model": "large",
        "num_layers": 3,
        "num_kv_heads": 2,
        "head_dim": 16,
        "sliding_window": 0,
        "sliding_window_layers": [],
        "rope": {
            "theta": 10000.0,
            "pairing": "half",
            "rotary_dim": 16,
            "scaling": {"type": "default"},
        },
    }
    weights = (folders / "small" / "model.safetensors").read_bytes()
    assert index["sender"]["revision"] == hashlib.sha256(weights).hexdigest()
    assert index["sender"]["tokenizer_sha256"] == index["receiver"]["tokenizer_sha256"] != ""
    assert len(index["source"]["mean_key_norms"]["sender"]["by_position"]) == 8
    for entry, shard in zip(index["shards"], shards):
        data = (tmp_path / "d" / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        expected = {
            f"{role}.{kind}.{layer}"
            for role, layers in (("sender", 2), ("receiver", 3))
            for kind in ("keys", "values")
            for layer in range(layers)
        }
        assert set(shard) == expected | {"sequence_offsets", "token_ids", "document_ids"}
        tokens, sequences = entry["num_tokens"], entry["num_sequences"]
        assert (
            shard["sequence_offsets"].tolist() == list(range(0, tokens + 1, 24))
            and len(shard["document_ids"]) == sequences
        )
        assert (
            shard["sequence_offsets"].dtype == shard["document_ids"].dtype == torch.int64
            and shard["token_ids"].dtype == torch.int32
        )
        assert shard["sender.keys.1"].shape == (tokens, 2, 8) and shard[
            "receiver.values.2"
        ].shape == (tokens, 2, 16)
        assert shard["sender.keys.1"].dtype == torch.float32


def test_caches_are_those_of_each_sequence_alone(folders, tmp_path):
    """Batching, packing and order must not matter: every sequence against a prefill of its own."""
    assert run(folders, tmp_path / "d") == 0
    _, shards = read(tmp_path / "d")
    model = transformers.AutoModel.from_pretrained(folders / "large").eval()
    for shard in shards:
        offsets = shard["sequence_offsets"].tolist()
        for begin, end in zip(offsets, offsets[1:]):
            cache = model(
                shard["token_ids"][None, begin:end].long(), use_cache=True
            ).past_key_values
            for layer in range(3):
                expected = cache.layers[layer].values[0].transpose(0, 1)
                torch.testing.assert_close(
                    shard[f"receiver.values.{layer}"][begin:end], expected, rtol=1e-4, atol=1e-5
                )
            # position 0 is not turned by RoPE
            torch.testing.assert_close(
                shard["receiver.keys.0"][begin], cache.layers[0].keys[0, :, 0], rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_stored_type_is_one_rounding_of_float32(folders, tmp_path, dtype):
    assert run(folders, tmp_path / "d", sequences=4) == 0
    assert run(folders, tmp_path / "half", sequences=4, dtype=dtype) == 0
    full, half = read(tmp_path / "d")[1][0], read(tmp_path / "half")[1][0]
    for name in full:
        assert torch.equal(half[name], full[name].to(half[name].dtype)), name
    assert half["sender.keys.0"].dtype == getattr(torch, dtype)


def test_one_model_at_a_time_writes_the_same_bytes(folders, tmp_path):
    assert run(folders, tmp_path / "both") == 0
    assert run(folders, tmp_path / "apart", **{"one-model-at-a-time": True}) == 0
    hashes = [
        [shard["sha256"] for shard in read(tmp_path / name)[0]["shards"]]
        for name in ("both", "apart")
    ]
    assert hashes[0] == hashes[1]
    assert not list((tmp_path / "apart").glob("part-*"))


def test_a_killed_capture_resumes_to_the_same_bytes(folders, tmp_path):
    assert run(folders, tmp_path / "whole", **{"shard-sequences": 1, "batch-size": 1}) == 0
    arguments = [
        sys.executable,
        SCRIPT,
        *command(folders, tmp_path / "killed", **{"shard-sequences": 1, "batch-size": 1}),
    ]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((tmp_path / "killed").glob("pairs-*")):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (tmp_path / "killed" / ".tmp-pairs-00009-of-00010.safetensors").write_bytes(b"half a shard")
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("pairs-*")}
    assert run(folders, tmp_path / "killed", **{"shard-sequences": 1, "batch-size": 1}) == 0
    index, whole = read(tmp_path / "killed")[0], read(tmp_path / "whole")[0]
    assert [shard["sha256"] for shard in index["shards"]] == [
        shard["sha256"] for shard in whole["shards"]
    ]
    assert index["source"]["mean_key_norms"] == whole["source"]["mean_key_norms"]
    assert not list((tmp_path / "killed").glob(".tmp-*"))
    assert times, "the process was killed before its first shard"


def test_finished_shards_are_kept_and_damaged_ones_made_again(folders, tmp_path):
    assert run(folders, tmp_path / "d") == 0
    first, second = (tmp_path / "d" / f"pairs-0000{n}-of-00003.safetensors" for n in (1, 2))
    kept, good = first.stat().st_mtime_ns, second.read_bytes()
    second.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert run(folders, tmp_path / "d") == 0
    assert first.stat().st_mtime_ns == kept and second.read_bytes() == good


def test_a_finished_capture_loads_no_model(folders, tmp_path, monkeypatch):
    assert run(folders, tmp_path / "d") == 0
    finished, _ = read(tmp_path / "d")
    del finished["documents"]  # as an older version left it
    (tmp_path / "d" / "index.json").write_text(json.dumps(finished))
    monkeypatch.setattr(capture_hf.models, "CacheModel", None)
    assert run(folders, tmp_path / "d") == 0
    again, _ = read(tmp_path / "d")
    texts = [path.read_text() for path in sorted((folders / "text").iterdir())]
    assert again.pop("documents") == [
        hashlib.sha256(text.encode()).hexdigest() for text in texts
    ]
    assert again == finished


def test_sigint_keeps_what_is_done(folders, tmp_path, monkeypatch, capsys):
    write = store.Store.write_shard

    def interrupted(self, number, *rest):
        write(self, number, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(store.Store, "write_shard", interrupted)
    assert run(folders, tmp_path / "d") == 130
    assert "run the same command to resume" in capsys.readouterr().err
    assert (
        not (tmp_path / "d" / "index.json").exists()
        and len(list((tmp_path / "d").glob("pairs-*"))) == 1
    )


def test_shares_and_documents(folders, tmp_path):
    """Two inputs at 3:1; document ids are the dataset's, and every shard is a sample of both."""
    (tmp_path / "other.txt").write_text(
        "".join(f" = Title {index} = \n\n {make_text(80, 50 + index)}\n" for index in range(5))
    )
    assert (
        run(
            folders,
            tmp_path / "d",
            input=[folders / "text", tmp_path / "other.txt"],
            shares="3,1",
            sequences=8,
        )
        == 0
    )
    documents = torch.cat([shard["document_ids"] for shard in read(tmp_path / "d")[1]])
    assert (documents < 6).sum() == 6 and (documents >= 6).sum() == 2
    assert sorted(documents[documents < 6].tolist()) == [0, 1, 2, 3, 4, 5], (
        "every document once before any twice"
    )


def test_text_is_split_by_the_first_rule_that_applies():
    assert inputs.split_text(" = One = \n a\n = = Part = = \n b\n = Two = \n c\n") == [
        " = One = \n a\n = = Part = = \n b",
        " = Two = \n c",
    ]
    assert inputs.split_text("a\n\nb\n<|endoftext|>\nc\n") == ["a\n\nb", "c"]
    assert inputs.split_text("a\n\n\nb\n") == ["a\n\n\nb"]


def test_every_sequence_starts_with_bos_where_the_tokenizer_adds_one():
    text = make_text(40, 3)
    plain, with_bos = (
        inputs.Cutter(make_tokenizer(with_bos=flag), 10, "text").cut(text) for flag in (False, True)
    )
    tokens = make_tokenizer()(text).input_ids
    assert [piece for piece, _ in plain] == [
        tokens[begin : begin + 10] for begin in range(0, len(tokens) - 9, 10)
    ]
    assert [piece for piece, _ in with_bos] == [
        [1] + tokens[begin : begin + 9] for begin in range(0, len(tokens) - 8, 9)
    ]


def test_chat_goes_through_the_template(folders, tmp_path):
    lines = [
        {
            "messages": [
                {"role": "user", "content": make_text(12 + index, index)},
                {"role": "assistant", "content": "the cache"},
            ]
        }
        for index in range(3)
    ]
    (tmp_path / "chat.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert (
        run(
            folders,
            tmp_path / "d",
            input=tmp_path / "chat.jsonl",
            format="chat",
            sequences=3,
            tokens=200,
        )
        == 0
    )
    (shard,) = read(tmp_path / "d")[1]
    tokenizer = make_tokenizer()
    texts = {
        tokenizer.decode(shard["token_ids"][begin:end])
        for begin, end in zip(shard["sequence_offsets"], shard["sequence_offsets"][1:])
    }
    assert texts == {
        tokenizer.apply_chat_template(line["messages"], tokenize=False) for line in lines
    }
    assert (shard["sequence_offsets"].diff() > 16).all()


@pytest.mark.parametrize(
    "changes,text",
    [
        ({"sequences": 500}, "expected 500 sequences of 24 tokens, its 6 documents give"),
        ({"input": "missing.txt"}, "--input missing.txt: no such file or folder"),
        ({"sender": "missing"}, "missing: expected a Hugging Face folder with config.json"),
    ],
)
def test_wrong_input_is_named(folders, tmp_path, capsys, changes, text):
    assert run(folders, tmp_path / "d", **changes) == 1
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    "content,kind,text",
    [
        (b"caf\xe9", "text", "expected UTF-8 text, got byte 0xe9 at offset 3"),
        (b"\n \n", "text", "no text documents found"),
        (
            b'{"messages": []}\n{"text": 1}',
            "chat",
            "bad:2: expected an object with messages; messages is missing",
        ),
        (b"{", "chat", "bad:1: not JSON"),
        (b'{"image": "x.png", "text": "t"}', "image-text", "x.png does not exist"),
        (b'{"image": 1, "text": "t"}', "image-text", "bad:1: image: expected a text, got 1"),
    ],
)
def test_wrong_files_are_named(tmp_path, content, kind, text):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(CaptureError, match=text):
        inputs.read_documents(tmp_path / "bad", kind)


def test_empty_folder_is_named(tmp_path):
    with pytest.raises(CaptureError, match="the folder holds no files"):
        inputs.read_documents(tmp_path, "text")


def test_other_tokenizer_is_refused(folders, tmp_path, capsys):
    save_model(
        tmp_path / "other",
        text_config(transformers.LlamaConfig),
        tokenizer=make_tokenizer(vocab_size=290),
    )
    assert run(folders, tmp_path / "d", receiver=tmp_path / "other") == 1
    assert "the tokenizers differ: sender" in capsys.readouterr().err


def test_another_capture_is_not_overwritten(folders, tmp_path, capsys):
    assert run(folders, tmp_path / "d") == 0
    assert run(folders, tmp_path / "d", tokens=20) == 1
    assert "holds a capture of other models, text or options" in capsys.readouterr().err
    for name in ("index.json", store.PROGRESS):
        (tmp_path / "d" / name).unlink(missing_ok=True)
    assert run(folders, tmp_path / "d") == 1
    assert "holds shards but neither index.json nor" in capsys.readouterr().err


def test_missing_weights_are_not_made_up(folders, tmp_path, capsys):
    from safetensors.torch import save_file

    save_model(tmp_path / "m", text_config(transformers.LlamaConfig))
    weights = load_file(tmp_path / "m" / "model.safetensors")
    del weights["model.layers.1.self_attn.k_proj.weight"]
    save_file(weights, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    assert run(folders, tmp_path / "d", receiver=tmp_path / "m") == 1
    assert (
        "1 tensors are missing from its weights, first layers.1.self_attn.k_proj.weight"
        in capsys.readouterr().err
    )


def test_sliding_window_must_hold_a_sequence(folders, tmp_path, capsys):
    save_model(tmp_path / "m", text_config(transformers.MistralConfig, sliding_window=20))
    assert run(folders, tmp_path / "d", receiver=tmp_path / "m") == 1
    assert "--tokens 24 exceeds its sliding window of 20; use at most 20" in capsys.readouterr().err
    assert run(folders, tmp_path / "d", receiver=tmp_path / "m", tokens=20) == 0
    assert read(tmp_path / "d")[0]["receiver"]["geometry"]["sliding_window_layers"] == [0, 1]


def test_overflow_names_the_tensor(folders, tmp_path, capsys):
    from safetensors.torch import save_file

    save_model(tmp_path / "m", text_config(transformers.Qwen2Config))
    weights = load_file(tmp_path / "m" / "model.safetensors")
    weights["model.layers.1.self_attn.v_proj.bias"][5] = 1e5
    save_file(weights, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    assert run(folders, tmp_path / "d", receiver=tmp_path / "m", dtype="float16") == 1
    assert (
        "tensor receiver.values.1 is not finite as float16 (largest float16 is 65504); use --dtype "
        "bfloat16" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"shares": "1,2"},
        {"shares": "-1"},
        {"tokens": 0},
        {"dtype": "int8"},
        {"label-field": "label"},
    ],
)
def test_wrong_usage_exits_2(folders, tmp_path, changes):
    with pytest.raises(SystemExit) as error:
        run(folders, tmp_path / "d", **changes)
    assert error.value.code == 2
