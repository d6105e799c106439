"""The peers' side of a projection: torch eager, torch.compile, or onnxruntime on the exported model. A worker
for compare_peers.py: see projection.cpp for the folder and for the lines that it reads.
Arguments: folder, threads, eager | compile | onnxruntime."""

import json
import sys
import time

import numpy
from safetensors.numpy import load_file, save_file


def torch_projection(folder, threads, compiled):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    weights = {name.removeprefix("projector."): torch.from_numpy(value[0]) for name, value in
               load_file(f"{folder}/checkpoint.safetensors").items()}

    def linear(name):
        layer = nn.Linear(*reversed(weights[name + ".weight"].shape))
        layer.weight.data, layer.bias.data = weights[name + ".weight"], weights[name + ".bias"]
        return layer

    layers = [linear("linear")] if "linear.weight" in weights else [linear("input"), nn.GELU(), linear("output")]
    norm = nn.LayerNorm(layers[-1].out_features)
    norm.weight.data, norm.bias.data = weights["norm.gamma"], weights["norm.beta"]
    model = nn.Sequential(*layers, norm).eval()
    run = torch.compile(model) if compiled else model
    no_gradients = torch.inference_mode()
    return lambda features: no_gradients(run)(torch.from_numpy(features)).numpy()


def onnx_projection(folder, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda features: session.run(None, {name: features})[0]


def main():
    folder, threads, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    project = onnx_projection(folder, threads) if mode == "onnxruntime" else \
        torch_projection(folder, threads, mode == "compile")
    stored = load_file(f"{folder}/features.safetensors")["features"]
    features = {}
    for line in sys.stdin:
        command, *words = line.split()
        answer = []
        if command == "output":
            save_file({"output": numpy.ascontiguousarray(project(stored))}, f"{folder}/{mode}.safetensors")
        else:
            tokens, calls = map(int, words)
            if tokens not in features:
                generator = numpy.random.default_rng(2)
                features[tokens] = generator.standard_normal((tokens, stored.shape[1]), dtype=numpy.float32)
            for _ in range(calls):
                start = time.perf_counter()
                project(features[tokens])
                answer.append(1e3 * (time.perf_counter() - start))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
