"""kvalign plan as its users meet it, and its figures worked out again in Python.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/plan_test.py
"""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
CONFIG = ROOT / "configs/plan/demo.yaml"


def plan(*arguments):
    return subprocess.run([KVALIGN, "plan", *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, cwd=ROOT)


def prefill(config, tokens):
    """Operations, and bytes in float16, of reading `tokens` and predicting one."""
    hidden, head_dim = config["hidden_size"], config["head_dim"]
    query = config["num_attention_heads"] * head_dim
    width = config["num_key_value_heads"] * head_dim
    bias = query + 2 * width if config["model_type"] == "qwen2" else 0
    matrices = hidden * (query + 2 * width) + query * hidden + 3 * hidden * config["intermediate_size"]
    layers, head = config["num_hidden_layers"], config["vocab_size"] * hidden
    pairs = sum(range(1, tokens + 1))
    flops = 2 * (layers * (tokens * matrices + 2 * pairs * query) + head)
    weights = layers * (matrices + bias + 2 * hidden) + head + hidden
    moved = layers * 2 * width * tokens + tokens * hidden + config["vocab_size"]
    return flops, 2 * (weights + moved)


class Plan(unittest.TestCase):
    def run_to(self, code, *arguments):
        result = plan(*arguments)
        self.assertEqual(result.returncode, code, f"{result.stdout}\n{result.stderr}")
        return result

    def test_figures_of_the_text(self):
        shown = json.loads(self.run_to(0, "--config", CONFIG, "--json").stdout)
        config = json.loads((ROOT / "demo/receiver/config.json").read_text())
        for prompt in shown["prompts"]:
            tokens = prompt["prompt_tokens"]
            flops, moved = prefill(config, tokens)
            row = prompt["rows"][0]
            self.assertEqual(row["row"], "text")
            self.assertEqual(row["flops_receiver"], flops)
            self.assertEqual(row["bytes_sent"], 4 * tokens)
            self.assertAlmostEqual(row["seconds_link"], 0.02 + 8 * 4 * tokens / 1e8)
            seconds = max(flops / 312e12, moved / 1555e9)
            self.assertAlmostEqual(row["seconds_receiver"], seconds, delta=1e-9 * seconds)
            self.assertEqual(row["energy"], "not measured")
            self.assertAlmostEqual(row["power_limit_times_seconds"], 400 * seconds)
            self.assertEqual(prompt["steps"][0]["bytes"], moved)

    def test_says_plainly_to_send_the_text(self):
        result = self.run_to(0, "--config", CONFIG)
        self.assertIn("Prompt of 1,024 tokens\n", result.stdout)
        self.assertIn("\nSend the text. The first token comes after ", result.stdout)
        self.assertIn("Energy is not measured", result.stdout)
        self.assertEqual(result.stderr, "")

    def test_output_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_to(0, "--config", CONFIG, "--output", f"{folder}/plan", "--json")
            names = sorted(path.name for path in pathlib.Path(folder, "plan").iterdir())
            self.assertEqual(names, ["plan.json", "plan.md", "plan_bandwidth.svg", "plan_prompt.svg"])
            written = json.loads(pathlib.Path(folder, "plan/plan.json").read_text())
            self.assertEqual(written, json.loads(result.stdout))
            self.assertIn("plan_prompt.svg are in", result.stderr)

    def test_help_and_print_config(self):
        text = self.run_to(0, "--help").stdout
        for key in ["cost.sender_target", "cost.link_bits_per_second", "plan.prompt_tokens"]:
            self.assertIn(f"\n  {key}  (", text)
        printed = self.run_to(0, "--config", CONFIG, "--set", "cost.sender=cold", "--print-config")
        self.assertIn("\n  sender: cold\n", printed.stdout)
        self.assertNotIn("ladder:", printed.stdout)

    def test_mistakes(self):
        def refuse(code, text, *arguments):
            result = self.run_to(code, *arguments)
            self.assertIn(text, result.stderr)
            self.assertEqual(result.stdout, "")

        refuse(2, "option 'plan.sender' is required")
        refuse(2, "unknown option 'cost.link'", "--config", CONFIG, "--set", "cost.link=1")
        refuse(2, "expected a number > 0", "--config", CONFIG, "--set", "cost.link_bits_per_second=0")
        refuse(2, "option 'plan.prompt_tokens' is required", "--config", CONFIG, "--set",
               "plan.prompt_tokens=[]")
        refuse(1, "expected plan.receiver to be a Hugging Face folder with config.json, got 'nowhere'",
               "--config", CONFIG, "--set", "plan.receiver=nowhere")
        refuse(1, "nowhere.yaml", "--config", CONFIG, "--set", "cost.sender_target=nowhere.yaml")


if __name__ == "__main__":
    unittest.main()
