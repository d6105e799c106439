"""scripts/tensorrt_build.sh with a stand-in for trtexec: which arguments it passes, and what it refuses. No TensorRT.

Run by ctest: .deps/venv/bin/python -m unittest tests/scripts/test_tensorrt_build.py
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import onnx
from onnx import TensorProto, helper

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/tensorrt_build.sh"
# Writes down its arguments, and an engine unless it is told to fail.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$@" >"$ARGUMENTS"
for argument in "$@"; do
  case $argument in --saveEngine=*) echo engine >"${argument#*=}" ;; esac
done
exit "${EXIT_CODE:-0}"
"""


class TensorrtBuild(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "bin").mkdir()
        stand_in = self.folder / "bin/trtexec"
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        self.model = self.folder / "a model.onnx"
        values = [helper.make_tensor_value_info("codes", TensorProto.UINT8, ["tokens", 48, 128]),
                  helper.make_tensor_value_info("scales", TensorProto.FLOAT, ["tokens", 48])]
        graph = helper.make_graph([helper.make_node("Identity", ["scales"], ["y"])], "g", values,
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["tokens", 48])])
        onnx.save(helper.make_model(graph), self.model)
        self.engine = self.folder / "an engine"

    def build(self, *flags, script=SCRIPT, model=None, engine=None, **environment):
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "ARGUMENTS": str(self.folder / "arguments"),
                       **environment}
        return subprocess.run([script, model or self.model, engine or self.engine, *flags], capture_output=True,
                              text=True, env=environment)

    def arguments(self):
        return (self.folder / "arguments").read_text().splitlines()

    def refused(self, text, code=2, **options):
        result = self.build(**options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(text, result.stderr)
        self.assertFalse(self.engine.exists())

    def test_shapes_are_the_models(self):
        result = self.build()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.arguments(), [
            f"--onnx={self.model}", f"--saveEngine={self.engine}.unfinished", "--skipInference",
            "--minShapes=codes:1x48x128,scales:1x48", "--optShapes=codes:256x48x128,scales:256x48",
            "--maxShapes=codes:4096x48x128,scales:4096x48", f"--timingCacheFile={self.engine}.timing",
            "--stronglyTyped"])
        self.assertEqual(self.engine.read_text(), "engine\n")
        self.assertFalse(pathlib.Path(f"{self.engine}.unfinished").exists())

    def test_flags_go_to_trtexec(self):
        self.assertEqual(self.build("--bf16", "--builderOptimizationLevel=5", TOKENS="2 4 8").returncode, 0)
        self.assertEqual(self.arguments()[-2:], ["--bf16", "--builderOptimizationLevel=5"])
        self.assertNotIn("--stronglyTyped", self.arguments())
        self.assertIn("--maxShapes=codes:8x48x128,scales:8x48", self.arguments())

    def test_a_failed_build_leaves_no_engine(self):
        self.engine.write_text("the former one\n")
        self.assertEqual(self.build(EXIT_CODE="1").returncode, 1)
        self.assertEqual(self.engine.read_text(), "the former one\n")
        self.assertFalse(pathlib.Path(f"{self.engine}.unfinished").exists())

    def test_what_is_missing_is_named(self):
        self.refused("trtexec is not on PATH", PATH="/usr/bin:/bin")
        self.refused("there is no model", model=self.folder / "none.onnx")
        self.refused("there is no folder for", engine=self.folder / "none/engine")
        for tokens in ("1 2", "0 1 2", "3 2 4", "1 2 3 4", "a b c"):
            self.refused("three rising numbers from 1", TOKENS=tokens)
        # Without the project's environment, the system's Python has to have onnx.
        copy = self.folder / "scripts/tensorrt_build.sh"
        copy.parent.mkdir()
        shutil.copy(SCRIPT, copy)
        (self.folder / "bin/python3").symlink_to("/bin/false")
        self.refused("It needs the package onnx", script=copy)
        short = subprocess.run([SCRIPT, self.model], capture_output=True, text=True)
        self.assertEqual(short.returncode, 2)
        self.assertIn("got 1 arguments", short.stderr)


if __name__ == "__main__":
    unittest.main()
