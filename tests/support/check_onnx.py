"""Holds exported ONNX models against onnx.checker and, run by onnxruntime, against expected outputs.

Usage: check_onnx.py FOLDER TOLERANCE: for every model.onnx beside a model.safetensors with its inputs ("in.<name>")
and expected outputs ("out.<name>"). The error of an output is relative to its largest magnitude. Prints the largest
error of each model; fails where it is beyond TOLERANCE, and where inputs, outputs or lengths are not the model's.
"""
import pathlib
import sys

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file

FP8 = onnx.TensorProto.FLOAT8E4M3FN


def ort_value(array, declared):
    if declared == "tensor(float8e4m3fn)":
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, FP8)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def check(path):
    """The largest error."""
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tensors = load_file(path.with_suffix(".safetensors"))
    inputs = {item.name: ort_value(tensors.pop("in." + item.name), item.type) for item in session.get_inputs()}
    names = [item.name for item in session.get_outputs()]
    worst = 0.0
    for name, value in zip(names, session.run_with_ort_values(names, inputs)):
        got, expected = value.numpy(), tensors.pop("out." + name)
        if got.shape != expected.shape or got.dtype != expected.dtype:
            sys.exit(f"{path.name}: {name} is {got.dtype} {got.shape}, expected {expected.dtype} {expected.shape}")
        worst = max(worst, float(numpy.abs(got - expected).max(initial=0) / numpy.abs(expected).max(initial=1e-30)))
    if tensors:
        sys.exit(f"{path.name}: the model lacks {sorted(tensors)}")
    return worst


def main():
    folder, tolerance = pathlib.Path(sys.argv[1]), float(sys.argv[2])
    models = sorted(folder.rglob("*.onnx"))
    if not models:
        sys.exit(f"{folder}: no model")
    errors = {path: check(path) for path in models}
    for path, error in errors.items():
        print(f"{path.relative_to(folder)}: error {error:.2g} of the largest output")
    wrong = [path.name for path, error in errors.items() if not error <= tolerance]
    if wrong:
        sys.exit(f"beyond {tolerance}: {wrong}")


if __name__ == "__main__":
    main()
