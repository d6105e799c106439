"""kvalign export as its users meet it: a projector is fitted, exported and run by onnxruntime on the sender's caches of
the dataset, against the checkpoint's own weights multiplied in float64.

Run by ctest, which names the built command in the environment, with the interpreter that has onnxruntime:
KVALIGN=build/release/tools/kvalign .deps/venv/bin/python -m unittest tests/tools/export_test.py
"""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy
import onnx
import onnxruntime
from google.protobuf import text_format
from safetensors import safe_open
from tritonclient.grpc import model_config_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()


def kvalign(*arguments):
    return subprocess.run([KVALIGN, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)


class Export(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="kvalign_export_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        recipe = ["--config", ROOT / "configs/tests/tiny_layers.yaml", "--set", f"dataset.folder={cls.folder}/pairs",
                  "--set", f"run_folder={cls.folder}/run"]
        for arguments in (["dataset", "generate", cls.folder / "pairs", *recipe[:2]],
                          ["distill-train", *recipe, "--set", "projector.layer_map.kind=all"]):
            result = kvalign(*arguments)
            if result.returncode != 0:
                raise RuntimeError(f"{arguments}\n{result.stderr}")
        cls.checkpoint = cls.folder / "run/checkpoint.safetensors"

    def export(self, *arguments):
        result = kvalign("export", self.checkpoint, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def caches(self):
        """Keys of layer 0, 1, then values, of all tokens of a shard: [tokens, streams, width]."""
        shard = safe_open(sorted((self.folder / "pairs").glob("*.safetensors"))[0], "numpy")
        streams = [shard.get_tensor(f"sender.{part}.{layer}") for part in ("keys", "values") for layer in range(2)]
        return numpy.stack([stream.reshape(len(stream), -1) for stream in streams], 1).astype(numpy.float32)

    def projected(self, features):
        """Both outputs, by the weights as the checkpoint has them: [R, D, F], and features in the streams' order."""
        checkpoint = safe_open(self.checkpoint, "numpy")
        weight = checkpoint.get_tensor("projector.linear.weight").astype(numpy.float64)
        bias = checkpoint.get_tensor("projector.linear.bias").astype(numpy.float64)
        flat = features.reshape(len(features), -1).astype(numpy.float64)
        streams = numpy.einsum("tf,rdf->trd", flat, weight) + bias
        return streams.reshape(len(features), 2, 3, 2, 16).transpose(1, 0, 2, 3, 4)

    def compare(self, path, inputs, expected):
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.assertEqual([output.name for output in session.get_outputs()], ["keys", "values"])
        for got, wanted in zip(session.run(None, inputs), expected):
            numpy.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * abs(wanted).max())

    def test_onnx(self):
        printed = self.export(self.folder / "model.onnx", "--format", "onnx")
        self.assertEqual(printed["inputs"], {"features": [-1, 4, 16]})
        self.assertEqual(printed["outputs"], {"keys": [-1, 3, 2, 16], "values": [-1, 3, 2, 16]})
        self.assertEqual(printed["bytes"], (self.folder / "model.onnx").stat().st_size)
        features = self.caches()
        for tokens in (1, len(features)):
            self.compare(printed["output"], {"features": features[:tokens]}, self.projected(features[:tokens]))

    def test_triton(self):
        printed = self.export(self.folder / "repository/pair", "--format", "triton", "--fp8")
        config = text_format.Parse(pathlib.Path(printed["config"]).read_text(), model_config_pb2.ModelConfig())
        self.assertEqual((config.name, config.backend), ("pair", "onnxruntime"))
        self.assertGreater(config.max_batch_size, 0)
        self.assertTrue(config.HasField("dynamic_batching"))
        session = onnxruntime.InferenceSession(printed["output"], providers=["CPUExecutionProvider"])
        types = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}
        for written, model in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
            self.assertEqual([(t.name, types[model_config_pb2.DataType.Name(t.data_type)], ["tokens", *t.dims])
                              for t in written], [(t.name, t.type, t.shape) for t in model])
        # What a code means, by the bits: sign, 4 of the exponent, 3 of the mantissa.
        codes = numpy.random.default_rng(5).integers(0, 256, (6, 4, 16), dtype=numpy.uint8)
        codes[(codes & 0x7F) == 0x7F] = 0
        exponent, mantissa = (codes >> 3 & 15).astype(int), codes & 7
        numbers = numpy.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0**(exponent - 7))
        numbers = numpy.where(codes & 0x80, -numbers, numbers)
        scales = numpy.linspace(0.001, 0.02, 24).astype(numpy.float32).reshape(6, 4)
        self.compare(printed["output"], {"codes": codes, "scales": scales},
                     self.projected(numbers * scales[:, :, None]))

    def test_flags_of_another_format_are_refused(self):
        for arguments, text in ((["--format", "edge", "--fp8"], "--fp8 and --latent are of --format onnx and triton"),
                                (["--format", "onnx", "--inverse-frequencies", "f"], "is of --format edge, got onnx"),
                                (["--format", "onnx", "--opset", "16"], "Value 16 not in range 17 to 23"),
                                ([], "--format is required")):
            result = kvalign("export", self.checkpoint, self.folder / "none", *arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(text, result.stderr)
        wrong = kvalign("export", self.checkpoint, self.folder / "none", "--format", "onnx", "--latent")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("expected a low_rank projector for a graph that reads latents", wrong.stderr)
        self.assertFalse((self.folder / "none").exists())


if __name__ == "__main__":
    unittest.main()
