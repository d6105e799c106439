"""Compares our projection with torch (eager and torch.compile) and with onnxruntime on the exported model, and
our decoder's prefill with transformers' and llama.cpp's: in turns, on the same weights, shapes and threads.

Prints JSON lines as `kvalign bench --output` writes them; results_table.py makes tables of both. Every
projection is compared with float64 before it is timed. torch.compile needs a C++ compiler. llama.cpp multiplies the 4-bit blocks of
the GGUF file, the others the 16-bit numbers that convert_gguf.py makes of them.

    .deps/venv/bin/python tests/benchmarks/compare_peers.py --build build/release/tests/benchmarks \\
        --torch-python .deps/capture/bin/python --threads 2 --receiver models/qwen2.5-coder-1.5b-q4_k_m \\
        --gguf Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf --llama-python .deps/llama/bin/python \\
        > results/benchmarks/peers.jsonl
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
import tempfile

import numpy
from safetensors.numpy import load_file, save_file
from workers import Worker, times_by_turns

HERE = pathlib.Path(__file__).parent
# Name, kind, widths of sender and receiver, tokens.
SHAPES = [
    ("V1 512 -> 4096", "linear_residual", 512, 4096, (1, 100, 800)),
    ("V1 64 -> 4096", "linear_residual", 64, 4096, (100,)),
    ("V2 512 -> 4096", "mlp", 512, 4096, (100,)),
]
LARGEST_ERROR = 1e-5  # relative, of float32 against float64


def spread(values):
    deciles = statistics.quantiles(values, n=10, method="inclusive")
    return {"median": statistics.median(values), "p10": deciles[0], "p90": deciles[-1]}


def verdict(ratio, noise):
    """As kvalign bench has it: equal where two turns of ours differ as much."""
    limit = max(1, noise["p90"], 1 / noise["p10"])
    if max(ratio, 1 / ratio) <= limit:
        return "equal"
    return "faster" if ratio < 1 else "slower"


def rows_of(case, times, threads, calls):
    """A row a worker but the first one's double, whose ratio to the first is the noise."""
    first, again, *peers = times
    noise = spread([b / a for a, b in zip(times[first], times[again])])
    for name in (first, *peers):
        ratios = {}
        for peer in peers:
            if peer != name:
                ratio = spread([ours / theirs for ours, theirs in zip(times[name], times[peer])])
                ratios[peer] = ratio | {"verdict": verdict(ratio["median"], noise)}
        yield {
            "suite": "peers", "case": case, "variant": name, "detail": "", "dtype": "float32", "device": "cpu",
            "threads": threads, "buffers": "hot", "rounds": len(times[name]), "repetitions": calls,
            "milliseconds": spread(times[name]), "ratios": ratios, "noise": noise,
            "percent_of_peak": None, "percent_of_copy": None,
        }


def in_float64(folder, features):
    """The projection of `features` by the checkpoint's weights."""
    weights = {name.removeprefix("projector."): value[0].astype(numpy.float64) for name, value in
               load_file(f"{folder}/checkpoint.safetensors").items()}

    def linear(name, x):
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    x = features.astype(numpy.float64)
    if "linear.weight" in weights:
        x = linear("linear", x)
    else:
        hidden = linear("input", x)
        erf = numpy.vectorize(math.erf)
        x = linear("output", hidden * 0.5 * (1 + erf(hidden / numpy.sqrt(2))))
    x = (x - x.mean(-1, keepdims=True)) / numpy.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * weights["norm.gamma"] + weights["norm.beta"]


def check(workers, folder, features):
    expected = in_float64(folder, features)
    for name, worker in workers.items():
        worker.ask("output")
        output = load_file(f"{folder}/{name.split('_')[0]}.safetensors")["output"]
        error = numpy.linalg.norm(output - expected) / numpy.linalg.norm(expected)
        if not error <= LARGEST_ERROR:
            sys.exit(f"compare_peers: {name} is wrong, so nothing is timed: relative error {error:.3g}, "
                     f"at most {LARGEST_ERROR:g}")


def compare_projection(arguments, shape, show_machine):
    name, kind, sender, receiver, all_tokens = shape
    threads = str(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        features = numpy.random.default_rng(1).standard_normal((7, sender), dtype=numpy.float32)
        save_file({"features": features}, f"{folder}/features.safetensors")
        ours = [f"{arguments.build}/projection", folder, threads, kind, str(sender), str(receiver)]
        peer = [str(HERE / "projection.py"), folder, threads]
        workers = {"kvalign": Worker(ours, threads)}
        machine = workers["kvalign"].ask("machine")  # from here on its files are there
        workers |= {
            "kvalign_again": Worker(ours, threads),
            "eager": Worker([arguments.torch_python, *peer, "eager"], threads),
            "compile": Worker([arguments.torch_python, *peer, "compile"], threads),
            "onnxruntime": Worker([sys.executable, *peer, "onnxruntime"], threads),
        }
        check(workers, folder, features)
        if show_machine:
            print(json.dumps({"machine": machine}), flush=True)
        for tokens in all_tokens:
            calls = max(3, 200 // tokens)
            line = f"time {tokens} {calls}"
            times = times_by_turns(workers, line, line, arguments.rounds)
            for row in rows_of(f"{name}, {tokens} tokens", times, arguments.threads, calls):
                print(json.dumps(row), flush=True)
        for worker in workers.values():
            worker.close()


def compare_prefill(arguments):
    threads = str(arguments.threads)
    ours = [f"{arguments.build}/decoder", threads, arguments.receiver]
    theirs = [arguments.torch_python, str(HERE / "decoder.py"), threads, arguments.receiver]
    workers = {"kvalign": Worker(ours, threads), "kvalign_again": Worker(ours, threads),
               "transformers": Worker(theirs, threads)}
    if arguments.gguf:
        workers["llama.cpp"] = Worker([arguments.llama_python, str(HERE / "llama_decoder.py"), threads, arguments.gguf],
                                      threads)
    line = "prefill 512 1"
    times = times_by_turns(workers, line, line, 5)
    for row in rows_of(f"prefill of 512 tokens, {pathlib.Path(arguments.receiver).name}", times,
                       arguments.threads, 1):
        print(json.dumps(row), flush=True)
    for worker in workers.values():
        worker.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="folder of the built projection and decoder")
    parser.add_argument("--torch-python", required=True, help="a Python with torch and, for --receiver, transformers")
    parser.add_argument("--receiver", help="a Hugging Face folder, whose prefill is compared")
    parser.add_argument("--gguf", help="the file that --receiver was made of, for llama.cpp")
    parser.add_argument("--llama-python", help="a Python with xllamacpp")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    if arguments.gguf and not (arguments.receiver and arguments.llama_python):
        parser.error("--gguf needs --receiver and --llama-python")
    for number, shape in enumerate(SHAPES):
        compare_projection(arguments, shape, show_machine=number == 0)
    if arguments.receiver:
        compare_prefill(arguments)


if __name__ == "__main__":
    main()
