"""scripts/results_table.py fills README's tables, sees when they are stale, and refuses loose ends."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "results_table.py"


def report():
    interval = {"value": 0.75, "low": 0.7, "high": 0.8}
    return {
        "dataset": {
            "sender": "small", "receiver": "large", "test_sequences": 4, "test_documents": 4,
            "test_tokens": 1200, "train_sequences": 8, "skip_first_tokens": 4,
        },
        "machine": {"cpu": "a cpu", "device": "cpu", "num_threads": 2, "libtorch": "2.11.0"},
        "reconstruction": {"rows": [
            {"row": "v1", "num_parameters": 2109440, "headline": {
                "r2_keys": interval, "mse": interval}},
            {"row": "mean", "num_parameters": 0, "headline": {
                "r2_keys": {"value": None, "low": None, "high": None},
                "mse": {"value": 12345.6, "low": None, "high": None}}},
        ]},
    }


def ladder_report():
    scores = {"nll": 1.25, "ppl": 3.49, "top1": 0.5, "nats_per_byte": 0.3125}
    row = {"first16": scores, "all": scores | {"nll": 1.5}, "bytes_per_token": 12288.5}
    return report() | {
        "ladder": [
            row | {"row": "v1 + sinks", "retention": 0.714, "retention_first16": 0.652, "kl": 0.2,
                   "milliseconds": {"prefill": 10.4, "project": 2.0, "continue": 5.0}},
            row | {"row": "sender alone", "retention": -0.1, "retention_first16": None, "kl": None,
                   "milliseconds": {"prefill": None, "project": None, "continue": 4.4}},
        ],
        "ladder_data": {
            "first_tokens": 16, "conclusion": "v1 + sinks keeps 71 %.", "sender": "small",
            "receiver": "large", "sequences": 40, "documents": 9, "prefix_tokens": 256,
            "continuation_tokens": 64, "floor": "sinks alone", "timed_sequences": 3,
            "sender_prefill_ms": {"warm": 0, "cold": 321.4},
        },
    }


def certificates_report():
    def percentiles(value):
        return {"p50": value, "p95": value, "max": value}

    def stream(measured, certified, vacuous):
        return {"output_norm": 10.0, "measured": percentiles(measured),
                "certified": percentiles(certified), "vacuous": vacuous}

    attention = {"layers": [{"measured": percentiles(0.02), "certified": percentiles(None),
                             "c_measured": percentiles(0.5), "c_certified": percentiles(40.0)}]}
    row = {
        "row": "v1", "tokens": 1024, "sequences": 4, "violations": 0, "largest_r2": 0.9,
        "seed_formula": {"value": 5.76},
        "quantisation": {"measured": percentiles(0.025), "certified": percentiles(0.046)},
        "streams": [stream(1, 4, 0), stream(2, 12, 1), stream(3, None, 1)],
        "projection": {"documents": 9, "mean": 0.3, "mean_upper": {
            "betting": 0.35, "empirical_bernstein": 0.4, "hoeffding": 0.45}},
        "attention": None, "attention_whole": attention,
        "decisions": {"sequences": 4, "disagreements": 1, "certified_quantisation": 3,
                      "certified_fully": 2, "task_distortion_upper": 0.8},
    }
    return report() | {"certificates": {"confidence": 0.95, "statements": 7, "rows": [row]}}


class ResultsTableTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name)
        (self.path / "run.json").write_text(json.dumps(report()))

    def run_script(self, *arguments):
        return subprocess.run(
            [sys.executable, SCRIPT, "--readme", self.path / "README.md", "--results", self.path,
             *arguments],
            capture_output=True, text=True, check=False)

    def write_readme(self, text):
        (self.path / "README.md").write_text(text)

    def test_fills_and_then_agrees(self):
        self.write_readme("before\n<!-- results:run -->\nstale\n<!-- /results -->\nafter\n")
        self.assertEqual(self.run_script("--check").returncode, 1)
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual(self.run_script("--check").returncode, 0)
        text = (self.path / "README.md").read_text()
        self.assertIn("| row | parameters | R² keys | MSE |\n| --- | ---: | ---: | ---: |\n", text)
        self.assertIn("| v1 | 2,109,440 | 0.750 [0.700, 0.800] | 0.750 [0.700, 0.800] |\n", text)
        self.assertIn("| mean | 0 | - | 1.23e+04 |\n", text)
        self.assertIn("1,200 tokens without the first 4 of each", text)
        self.assertTrue(text.startswith("before\n<!-- results:run -->\n| row |"))
        self.assertTrue(text.endswith("<!-- /results -->\nafter\n"))

    def test_fine_tuning(self):
        interval = {"value": 0.5, "low": 0.4, "high": 0.6}
        scores = {"accuracy": interval, "balanced_accuracy": interval | {"value": 0.55},
                  "macro_f1": interval | {"value": 0.45}}
        references = {"true_cache": interval | {"value": 0.58}, "majority_class": interval}
        tuned = report()
        tuned["task"] = {"num_classes": 5, **references, "balanced_accuracy": references,
                         "macro_f1": references, "gains": [{"row": "v1", "against": "v0", **scores}]}
        for row in tuned["reconstruction"]["rows"]:
            row["task"] = scores
        tuned["reconstruction"]["rows"][0]["task"] = scores | {"own_head": scores | {"true_cache": scores}}
        (self.path / "run.json").write_text(json.dumps(tuned))
        self.write_readme("<!-- results:run -->\n<!-- /results -->\n")
        self.assertEqual(self.run_script().returncode, 0)
        text = (self.path / "README.md").read_text()
        cells = "0.500 [0.400, 0.600] | 0.550 [0.400, 0.600] | 0.450 [0.400, 0.600] |\n"
        for line in ["v1", "v1, own head", "true cache, head of v1", "mean", "v1 minus v0"]:
            self.assertIn(f"| {line} | {cells}", text)
        self.assertIn("| commonest label | " + " | ".join(["0.500 [0.400, 0.600]"] * 3) + " |\n", text)

    def test_ladder(self):
        (self.path / "run.json").write_text(json.dumps(ladder_report()))
        self.write_readme("<!-- ladder:run -->\n<!-- /ladder -->\n"
                          "<!-- results:run -->\n<!-- /results -->\n")
        self.assertEqual(self.run_script("--check").returncode, 1)
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual(self.run_script("--check").returncode, 0)
        text = (self.path / "README.md").read_text()
        self.assertIn("| row | nll first 16 | nll | ppl | top-1 first 16 | top-1 | "
                      "retention first 16 | retention | KL |",
                      text)
        self.assertIn("| v1 + sinks | 1.250 | 1.500 | 3.49 | 0.500 | 0.500 | 65 % | 71 % | 0.200 | 0.312 | "
                      "12,288.5 | 17 |\n", text)
        self.assertIn("| - | -10 % | - | 0.312 | 12,288.5 | 4 |\n", text)
        self.assertIn("\nv1 + sinks keeps 71 %.\n", text)
        self.assertIn("40 held-out sequences of 9 documents", text)
        self.assertIn("sender's prefill (321 ms cold, 0 warm)", text)
        self.assertIn("| v1 | 2,109,440 |", text)

    def test_certificates(self):
        (self.path / "run.json").write_text(json.dumps(certificates_report()))
        self.write_readme("<!-- certificates:run -->\n<!-- /certificates -->\n")
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual(self.run_script("--check").returncode, 0)
        text = (self.path / "README.md").read_text()
        # Medians over three streams, of which one has no bound.
        self.assertIn("| v1 | 2.5 % | 4.6 % | 20 % | 120 % | 66.7 % | - | - | 2 % | none | 0.500 | "
                      "40.000 |\n", text)
        self.assertIn("| v1 | 0.300 | 0.350 | 0.400 | 0.450 | 0.900 | 5.760 | 25 % | 75 % | 50 % | "
                      "80 % |\n", text)
        self.assertIn("1,024 tokens of 4 held-out sequences, 0 bounds exceeded", text)

    def test_times(self):
        timed = ladder_report()
        timed["ladder_data"]["energy_source"] = "NVML GPU"
        for row in timed["ladder"]:
            row["joules"] = {"prefill": 4.25, "project": None, "continue": 3.125}
        other = timed["ladder"][0] | {"row": "wrong document + sinks"}
        timed["ladder"] += [other | {"row": "v1 + sinks again"}, other]
        (self.path / "run.json").write_text(json.dumps(timed))
        self.write_readme("<!-- times:run -->\n<!-- /times -->\n")
        self.assertEqual(self.run_script().returncode, 0)
        text = (self.path / "README.md").read_text()
        self.assertIn("| v1 + sinks | 10.40 | 2.00 | 5.00 | 4.25 | - | 3.12 |\n", text)
        self.assertIn("| sender alone | - | - | 4.40 | 4.25 | - | 3.12 |\n", text)
        self.assertNotIn("again", text)  # the same passes
        self.assertNotIn("wrong document", text)
        self.assertIn("medians of 3 texts. a cpu, cpu. Energy: NVML GPU.\n", text)

    def test_benchmark(self):
        def row(variant, buffers, ratios, **more):
            spread = {"median": 4.321, "p10": 4.0, "p90": 123.4}
            return {"suite": "projection", "case": "V1", "variant": variant, "dtype": "float32", "buffers": buffers,
                    "rounds": 11, "milliseconds": spread, "ratios": ratios, "percent_of_peak": 71.6,
                    "percent_of_copy": None} | more

        def ratio(verdict):
            return {"median": 0.75, "p10": 0.7, "p90": 1.25, "verdict": verdict}

        lines = [{"machine": report()["machine"], "limits": {}},
                 row("ours", "hot", {"eager": ratio("faster"), "gemm": ratio("equal")}),
                 row("eager", "hot", {"gemm": ratio("slower")}),
                 row("ours, graph", "hot", {"eager": ratio("faster")}, detail="2 kernels"),
                 row("gemm, graph", "hot", {}, detail="1 kernel"),
                 row("ours", "cold", {"eager": ratio("faster")}, percent_of_copy=12.3, rounds=5),
                 row("ours", "hot", {}, suite="codec"),
                 {"peak_memory_bytes": 1}]
        (self.path / "benchmarks").mkdir()
        (self.path / "benchmarks/cpu.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.write_readme("<!-- benchmark:cpu.projection -->\n<!-- /benchmark -->\n")
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual(self.run_script("--check").returncode, 0)
        text = (self.path / "README.md").read_text()
        self.assertIn("| case | dtype | buffers | ms | / eager | / gemm | of peak | of copy |\n", text)
        self.assertIn("| V1 | float32 | hot | 4.32 [4, 123] | 0.75 [0.70, 1.25] | 0.75 [0.70, 1.25] = | 72 % | - |\n",
                      text)
        self.assertIn("| V1 | float32 | cold | 4.32 [4, 123] | 0.75 [0.70, 1.25] | - | 72 % | 12 % |\n", text)
        self.assertIn("| V1, one graph of 2 kernels | float32 | hot | 4.32 [4, 123] | 0.75 [0.70, 1.25] | - |", text)
        self.assertEqual(text.count("| V1"), 3)
        self.assertIn("of 5 to 11 rounds", text)
        self.assertIn("a cpu, cpu, 2 threads, LibTorch 2.11.0.\n", text)

    def test_memory(self):
        (self.path / "benchmarks").mkdir()
        (self.path / "benchmarks/memory.json").write_text(json.dumps({"sequences": 100, "tokens": 256, "more": 4, "rows": [
            {"tool": "capture", "peak_mib": 1532, "peak_mib_of_more": 529},
            {"tool": "plan", "peak_mib": 470, "peak_mib_of_more": None}]}))
        self.write_readme("<!-- memory:memory -->\n<!-- /memory -->\n")
        self.assertEqual(self.run_script().returncode, 0)
        text = (self.path / "README.md").read_text()
        self.assertIn("| command | 100 sequences of 256 tokens, MiB | 400 sequences |", text)
        self.assertIn("| capture | 1,532 | 529 |", text)
        self.assertIn("| plan | 470 | - |", text)

    def test_benchmark_that_is_missing_is_named(self):
        self.write_readme("<!-- benchmark:cpu.codec -->\n<!-- /benchmark -->\n")
        self.assertIn("cpu.jsonl is missing", self.run_script().stderr)
        (self.path / "benchmarks").mkdir()
        (self.path / "benchmarks/cpu.jsonl").write_text(json.dumps({"machine": report()["machine"]}) + "\n")
        self.assertIn("cpu.jsonl holds nothing of suite 'codec'", self.run_script().stderr)

    def test_seed_numbers_name_what_is_missing(self):
        self.write_readme("<!-- seed:tables -->\n<!-- /seed -->\n")
        refused = self.run_script()
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("seed_512_to_4096.json is missing", refused.stderr)
        seed = {"reconstruction": {"rows": [{"row": "V2, LayerNorm", "num_parameters": 7}]}}
        (self.path / "seed_512_to_4096.json").write_text(json.dumps(seed))
        self.assertIn("no row 'V1, LayerNorm' in reconstruction", self.run_script().stderr)

    def test_task_success(self):
        parts = SCRIPT.parents[1] / "tests/evaluate/report_parts.json"
        task = json.loads(parts.read_text(encoding="utf-8"))["task_success"]
        whole = json.dumps(report() | {"task_success": task}, sort_keys=True)  # as reports are
        (self.path / "run.json").write_text(whole)
        self.write_readme("<!-- task_success:run -->\n<!-- /task_success -->\n")
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual(self.run_script("--check").returncode, 0)
        text = (self.path / "README.md").read_text(encoding="utf-8")
        self.assertIn("| ridge + sinks | 80.0 [70.0, 85.0] | 80.0 [70.0, 90.0] | 79.0 [69.0, 89.0] | "
                      "-10.0 [-20.0, -5.0] | 10.0 [0.0, 15.0] |\n", text)
        self.assertIn("| majority class | 50.0 | 50.0 | 33.3 | - | - |\n", text)
        self.assertIn('40 held-out texts of 2 classes, asked "\\nIs this spam?".', text)
        self.assertIn("\nridge + sinks answers 80 % of the texts right; text", text)

    def test_plan_is_quoted(self):
        (self.path / "plans").mkdir()
        (self.path / "plans" / "link.json").write_text(json.dumps({"prompts": [
            {"prompt_tokens": 256, "conclusion": "Send the text."},
            {"prompt_tokens": 4096, "conclusion": "Send the latents."}]}))
        self.write_readme("<!-- plan:link -->\n<!-- /plan -->\n")
        self.assertEqual(self.run_script().returncode, 0)
        self.assertIn("-->\n> **256 tokens.** Send the text.\n>\n> **4,096 tokens.** Send the latents.\n<!--",
                      (self.path / "README.md").read_text())

    def test_report_without_ladder_is_named(self):
        self.write_readme("<!-- ladder:run -->\n<!-- /ladder -->\n")
        self.assertIn("holds no ladder", self.run_script("--check").stderr)

    def test_check_says_what_to_do(self):
        self.write_readme("<!-- results:run -->\n<!-- /results -->\n")
        self.assertIn("Run scripts/results_table.py", self.run_script("--check").stderr)

    def test_missing_result_is_named(self):
        self.write_readme("<!-- results:other -->\n<!-- /results -->\n")
        process = self.run_script("--check")
        self.assertEqual(process.returncode, 1)
        self.assertIn("other.json is missing", process.stderr)

    def test_open_marker_is_refused(self):
        self.write_readme("<!-- results:run -->\n")
        self.assertIn("is not closed", self.run_script("--check").stderr)
        self.write_readme("<!-- ladder:run -->\n<!-- /results -->\n")
        self.assertIn("is not closed", self.run_script("--check").stderr)


if __name__ == "__main__":
    unittest.main()
