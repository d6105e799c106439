"""What examples/ shows, run as it says: an app that links kvalign, and the demo's models served to curl and to Triton's
client.

Run by ctest, which names the built programs in the environment: KVALIGN=build/release/tools/kvalign
PROJECT_CACHE=build/release/tests/tools/project_cache .deps/venv/bin/python -m unittest tests/tools/examples_test.py
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/load"))
import served  # noqa: E402

EXAMPLES = ROOT / "examples"
PROJECT_CACHE = pathlib.Path(os.environ["PROJECT_CACHE"]).resolve()


def run(*command, code=0):
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    if result.returncode != code:
        raise AssertionError(f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


class Examples(unittest.TestCase):
    """The demo's two models with a projector fitted to a few tokens: the way is the demo's, the text is not."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        path = pathlib.Path(folder.name)
        log, tokens = path / "log.txt", path / "tokens.safetensors"
        run(sys.executable, "scripts/incident_log.py", "--documents", 12, "--seed", 9, "--output", log)
        run(sys.executable, "scripts/tokenise.py", "--tokenizer", "demo/receiver", "--input", log, "--sequences", 12,
            "--tokens", 48, "--output", tokens)
        recipe = ["--config", "configs/demo.yaml", "--set", f"dataset.folder={path}/pairs", "--set",
                  f"run_folder={path}/run"]
        served.run_tool("capture", *recipe, "--set", f"capture.tokens={tokens}")
        served.run_tool("distill-train", *recipe, "--set", "projector.kind=linear_residual", "--set", "fit.kind=ridge")
        cls.checkpoint = path / "run/checkpoint.safetensors"
        cls.packet = path / "prefix.kvp"
        served.run_tool("encode", path / "pairs", cls.packet, "--sequence", 0, "--sinks", 4, "--reread", 1)
        cls.server = cls.enterClassContext(
            served.Server(cls.checkpoint, "service.receivers=[demo=demo/receiver]", model="demo"))

    def test_project_cache(self):
        # 5 layers of 3 heads of 32: demo/README.md.
        self.assertEqual(run(PROJECT_CACHE, self.checkpoint).stdout,
                         "".join(f"layer {layer}: keys and values [1, 3, 100, 32]\n" for layer in range(5)))
        self.assertIn("usage", run(PROJECT_CACHE, code=2).stderr)
        self.assertIn("/nowhere", run(PROJECT_CACHE, "/nowhere", code=1).stderr)

    def test_curl(self):
        lines = run(EXAMPLES / "serve_curl.sh", self.server.url, "demo", self.packet).stdout.splitlines()
        self.assertEqual(json.loads(lines[0]), {"ready": True})
        self.assertEqual(json.loads(lines[1])["name"], "demo")
        answer = json.loads(lines[2])
        self.assertEqual(answer["parameters"]["outcome"], "applied")
        sizes = [output["parameters"]["binary_data_size"] for output in answer["outputs"]]
        self.assertEqual(lines[3], f"{sum(sizes)} bytes of tensors follow")
        whole = json.loads(lines[4])
        pieces = [json.loads(line.removeprefix("data: ")) for line in lines[5:] if line]
        self.assertEqual("".join(piece["text_output"] for piece in pieces), whole["text_output"])
        self.assertEqual(whole["outcome"], "applied")
        self.assertEqual(pieces[-1]["outcome"], "applied")
        self.assertGreater(len(pieces), 2)

    def test_tritonclient(self):
        lines = run(sys.executable, EXAMPLES / "serve_tritonclient.py", self.server.address, "demo",
                    self.packet).stdout.splitlines()
        self.assertEqual(lines[0], "outcome: applied")
        # The packet's 48 tokens are 4 sinks, 43 in chunks and 1 re-read.
        self.assertTrue(lines[1].startswith("keys: float32 (5, 3, 43, 32), |x| <= "), lines[1])
        self.assertTrue(lines[2].startswith("values: float32 (5, 3, 43, 32)"), lines[2])
        self.assertTrue(lines[3].startswith("outcome: "), lines[3])


if __name__ == "__main__":
    unittest.main()
