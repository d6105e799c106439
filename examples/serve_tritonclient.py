#!/usr/bin/env python3
"""Asks a running server for the receiver's cache with Triton's own client (pip install tritonclient[http]).

    serve_tritonclient.py 127.0.0.1:8000 demo runs/demo/prefix.kvp
"""
import sys

import numpy as np
import tritonclient.http as triton


def show(result):
    answer = result.get_response()
    print(f"outcome: {answer['parameters']['outcome']}")
    for output in answer["outputs"]:
        values = result.as_numpy(output["name"])
        print(f"{output['name']}: {values.dtype} {values.shape}, |x| <= {np.abs(values).max():.3f}")


def main():
    address, model, packet = sys.argv[1:]
    with triton.InferenceServerClient(address) as client:
        if not client.is_model_ready(model):
            sys.exit(f"{model} is not ready at {address}")

        # What the device sent, as it came.
        sent = np.fromfile(packet, dtype=np.uint8)
        tensor = triton.InferInput("packet", list(sent.shape), "UINT8")
        tensor.set_data_from_numpy(sent)
        show(client.infer(model, [tensor]))

        # Numbers of your own, one row a token: here random ones, which the guard may well refuse.
        inputs = {one["name"]: one for one in client.get_model_metadata(model)["inputs"]}
        features = np.random.default_rng(1).standard_normal((3, inputs["features"]["shape"][1]), dtype=np.float32)
        tensor = triton.InferInput("features", list(features.shape), "FP32")
        tensor.set_data_from_numpy(features)
        show(client.infer(model, [tensor]))


if __name__ == "__main__":
    main()
