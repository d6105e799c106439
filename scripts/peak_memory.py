#!/usr/bin/env python3
"""How much memory each command takes at most: runs them on the demo pair, those that go over data twice, the
second time with four times as much. Writes JSON; results_table.py makes README's table of it.

    scripts/peak_memory.py --kvalign build/release/tools/kvalign --output results/benchmarks/memory.json

Needs scripts/setup.sh. The peak is the largest resident set that the kernel counted, shared libraries included.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEQUENCES = 100
MORE = 4  # times as many


class Tools:
    """Runs commands in a folder of their own and keeps the peak of each."""

    def __init__(self, kvalign, folder):
        self.kvalign, self.folder, self.peaks = kvalign, folder, {}

    def run(self, name, *arguments):
        """Peak MiB of one command, which must end well (or with 3: a gate that is not met)."""
        self._finish(name, self._start(arguments))

    def run_beside(self, name, *arguments):
        """The same of a server while the block runs; it must end at SIGTERM."""
        return _Beside(self, name, self._start(arguments, stdout=subprocess.PIPE))

    def script(self, name, *arguments):
        subprocess.run([sys.executable, ROOT / "scripts" / name, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)

    def _start(self, arguments, stdout=subprocess.DEVNULL):
        return subprocess.Popen([self.kvalign, *map(str, arguments)], stdout=stdout, stderr=self._log("wb"), cwd=ROOT)

    def _log(self, mode):
        return open(self.folder / "log", mode)

    def _finish(self, name, process):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):
            sys.exit(f"peak_memory: {name}: exit code {process.returncode}: {self._log('r').read()[-2000:]}")
        self.peaks.setdefault(name, []).append(round(usage.ru_maxrss / 1024))


class _Beside:
    def __init__(self, tools, name, process):
        self.tools, self.name, self.process = tools, name, process

    def __enter__(self):
        return json.loads(self.process.stdout.readline())["url"]

    def __exit__(self, *_):
        self.process.terminate()
        self.tools._finish(self.name, self.process)


def over_data(tools, sequences):
    """The commands whose input grows with the data. Returns what later commands need."""
    folder = tools.folder / str(sequences)
    folder.mkdir()
    tools.script("incident_log.py", "--documents", sequences, "--seed", 3, "--output", folder / "logs.txt")
    tools.script("tokenise.py", "--tokenizer", "demo/receiver", "--input", folder / "logs.txt", "--sequences", sequences,
                 "--tokens", 256, "--output", folder / "tokens.safetensors")
    recipe = ["--config", "configs/demo.yaml", "--set", f"dataset.folder={folder}/pairs"]
    tools.run("dataset generate", "dataset", "generate", folder / "flat", "--set", f"generate.num_sequences={sequences}")
    tools.run("capture", "capture", *recipe, "--set", f"capture.tokens={folder}/tokens.safetensors",
              "--set", "capture.sequences_per_shard=25")
    tools.run("dataset verify", "dataset", "verify", folder / "pairs")
    for kind in ("ridge", "adamw"):
        tools.run(f"distill-train, {kind}", "distill-train", *recipe, "--set", f"run_folder={folder}/{kind}", "--set",
                  "projector.kind=linear_residual", "--set", f"fit.kind={kind}", "--set", "train.epochs=1")
    tools.run("reference", "reference", *recipe, folder / "ridge/checkpoint.safetensors", folder / "reference")
    tools.run("eval, without a ladder", "eval", *recipe, "--set", "ladder.sender=", "--set", "ladder.receiver=",
              "--set", "ladder.tokens=", "--output", folder / "eval", "--checkpoint", folder / "ridge/checkpoint.safetensors")
    return folder


def once(tools, folder):
    """The commands whose memory is that of models, weights and one text."""
    checkpoint = folder / "ridge/checkpoint.safetensors"
    recipe = ["--config", "configs/demo.yaml", "--set", f"dataset.folder={folder}/pairs"]
    ladder = ["--set", f"ladder.tokens={folder}/held_out.safetensors"]
    tools.script("incident_log.py", "--documents", 20, "--seed", 4, "--output", folder / "held_out.txt")
    tools.script("tokenise.py", "--tokenizer", "demo/receiver", "--input", folder / "held_out.txt", "--sequences", 20,
                 "--tokens", 192, "--output", folder / "held_out.safetensors")
    tools.run("eval, with a ladder", "eval", *recipe, *ladder, "--output", folder / "ladder", "--checkpoint", checkpoint)
    tools.run("encode", "encode", folder / "pairs", folder / "prefix.kvp", "--sequence", 0, "--sinks", 4, "--reread", 1)
    tools.run("decode", "decode", folder / "prefix.kvp")
    tools.run("continue", "continue", *recipe, "--packet", folder / "prefix.kvp", "--tokens", 24, "--checkpoint", checkpoint)
    tools.run("export", "export", checkpoint, folder / "ridge.onnx", "--format", "onnx")
    tools.run("plan", "plan", "--config", "configs/plan/qwen_jetson_a100.yaml")
    tools.run("bench, 65 -> 1001", "bench", "--suite", "projection", "--filter", "65 ->", "--rounds", 5, "--threads", 1)
    service = [f"service.models=[demo={checkpoint}]", "service.receivers=[demo=demo/receiver]",
               f"service.statistics=[demo={folder}/reference/statistics.safetensors]",
               f"drift.references=[demo={folder}/reference/drift.json]", "serve.port=0"]
    flags = [part for setting in service for part in ("--set", setting)]
    with tools.run_beside("serve", "serve", "--config", "configs/serve_demo.yaml", "--json", *flags) as url:
        tools.run("load", "load", "--config", "configs/serve_demo.yaml", "--url", url, "--set",
                  f"load.packets=[{folder}/prefix.kvp]", "--set", "load.queries=200")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvalign", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tools = Tools(options.kvalign.resolve(), Path(name))
        tools.run("--version, LibTorch alone", "--version")
        folder = over_data(tools, SEQUENCES)
        over_data(tools, MORE * SEQUENCES)
        once(tools, folder)
    rows = [{"tool": tool, "peak_mib": peaks[0], "peak_mib_of_more": peaks[1] if len(peaks) > 1 else None}
            for tool, peaks in tools.peaks.items()]
    options.output.write_text(json.dumps({
        "system": platform.platform(), "sequences": SEQUENCES, "tokens": 256, "more": MORE, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
