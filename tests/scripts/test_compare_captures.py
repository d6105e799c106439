"""kvalign capture writes what capture_hf.py does, for every family; and compare_captures.py, which says
so, finds what differs. Needs the built command: KVALIGN=build/release/tools/kvalign in the environment."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

KVALIGN = os.environ.get("KVALIGN")
if not KVALIGN:
    pytest.skip("KVALIGN does not name the built command", allow_module_level=True)
torch = pytest.importorskip(
    "torch", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)
transformers = pytest.importorskip(
    "transformers", reason="run scripts/setup_capture.sh and use .deps/capture/bin/python"
)

import capture_hf
import tokenise
from safetensors.torch import load_file, save_file
from tiny_models import make_text, save_model, text_config

COMPARE = pathlib.Path(__file__).with_name("compare_captures.py")
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES = {
    "llama": (transformers.LlamaConfig, {"rope_parameters": LLAMA3}),
    "mistral": (transformers.MistralConfig, {"sliding_window": 64}),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 24, "num_hidden_layers": 3}),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for seed, (name, (config, changes)) in enumerate(FAMILIES.items()):
        save_model(root / name, text_config(config, **changes), seed=seed)
    (root / "text").mkdir()
    for index in range(4):
        (root / "text" / f"{index}.txt").write_text(make_text(80, index))
    texts = ["--input", str(root / "text"), "--sequences", "7", "--tokens", "30"]
    arguments = ["--tokenizer", str(root / "llama"), *texts, "--output", str(root / "tokens")]
    assert tokenise.main(arguments) == 0
    return root


def capture_both(root, folder, sender, receiver, dtype):
    """Folders `python` and `cpp`."""
    arguments = ["--sender", root / sender, "--receiver", root / receiver, "--input", root / "text"]
    arguments += ["--sequences", 7, "--tokens", 30, "--shard-sequences", 3, "--batch-size", 2]
    arguments += ["--dtype", dtype, "--output", folder / "python"]
    assert capture_hf.main([str(argument) for argument in arguments]) == 0
    options = {
        "dataset.folder": folder / "cpp",
        "capture.sender": root / sender,
        "capture.receiver": root / receiver,
        "capture.tokens": root / "tokens",
        "capture.sequences_per_shard": 3,
        "capture.dtype": dtype,
    }
    sets = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    subprocess.run([KVALIGN, "capture", *sets], check=True)


def compare(folder, limit):
    command = [sys.executable, COMPARE, folder / "python", folder / "cpp", "--limit", str(limit)]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


@pytest.mark.parametrize("dtype,limit", [("float32", 1e-5), ("bfloat16", 2e-3)])
@pytest.mark.parametrize("sender,receiver", [("llama", "qwen2"), ("mistral", "qwen3")])
def test_both_captures_agree(root, tmp_path, sender, receiver, dtype, limit):
    capture_both(root, tmp_path, sender, receiver, dtype)
    result = compare(tmp_path, limit)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "receiver.keys",
        "receiver.values",
        "sender.keys",
        "sender.values",
    ]


def test_differences_are_found(root, tmp_path):
    capture_both(root, tmp_path, "llama", "qwen2", "float32")
    index_path = tmp_path / "cpp" / "index.json"
    shard_path = tmp_path / "cpp" / "pairs-00002-of-00003.safetensors"
    index = json.loads(index_path.read_text())
    shard = {name: tensor.clone() for name, tensor in load_file(shard_path).items()}  # was mapped

    def found(text, changed_index=index, **tensors):
        index_path.write_text(json.dumps(changed_index))
        save_file(shard | tensors, shard_path)
        result = compare(tmp_path, 1e-5)
        assert result.returncode == 1 and text in result.stdout + result.stderr

    found("num_sinks: 4 and 5", index | {"num_sinks": 5})
    found("sender revision: ", index | {"sender": index["sender"] | {"revision": "other"}})
    found("documents: other hashes", index | {"documents": index["documents"][::-1]})
    found("token_ids: other numbers", token_ids=shard["token_ids"] + 1)
    found("other tensors", labels=torch.zeros(3, dtype=torch.long))
    values = shard["receiver.values.1"]
    found("receiver.values.1: ", **{"receiver.values.1": values[:-1]})
    found("receiver.values  0.0", **{"receiver.values.1": values * 1.01})
