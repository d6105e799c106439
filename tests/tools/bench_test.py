"""kvalign bench as its users meet it, on its smallest case. How fast anything is, is not tested.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/bench_test.py
"""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
SMALL = ["--suite", "projection", "--filter", "65 -> 1001", "--rounds", "5", "--threads", "1"]


def bench(*arguments):
    return subprocess.run([KVALIGN, "bench", *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=300, cwd=ROOT)


class Bench(unittest.TestCase):
    def run_to(self, code, *arguments):
        result = bench(*arguments)
        self.assertEqual(result.returncode, code, f"{result.stdout}\n{result.stderr}")
        return result

    def check_row(self, row):
        times = row["milliseconds"]
        self.assertTrue(0 < times["p10"] <= times["median"] <= times["p90"])
        self.assertGreater(row["first_call_ms"], 0)
        self.assertEqual((row["threads"], row["rounds"], row["device"]), (1, 5, "cpu"))
        self.assertEqual(set(row["ratios"]), {"eager", "gemm"} - {row["variant"]})
        for ratio in row["ratios"].values():
            self.assertIn(ratio["verdict"], ["faster", "equal", "slower"])
            self.assertTrue(0 < ratio["p10"] <= ratio["median"] <= ratio["p90"])
        self.assertEqual(row["flops"], 2 * 7 * 65 * 1001)
        # Weights, bias, gamma and beta; features and outputs.
        size = {"float32": 4, "bfloat16": 2}[row["dtype"]]
        self.assertEqual(row["bytes"], size * (1001 * 65 + 3 * 1001 + 7 * (65 + 1001)))
        self.assertLess(row["relative_error"], {"float32": 1e-5, "bfloat16": 1e-2}[row["dtype"]])
        self.assertGreater(row["percent_of_peak"], 0)
        self.assertEqual(row["percent_of_copy"] is None, row["buffers"] == "hot")

    def test_a_line_a_measurement(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_to(0, *SMALL, "--output", f"{folder}/bench.jsonl", "--json")
            written = pathlib.Path(folder, "bench.jsonl").read_text()
        self.assertEqual(written, result.stdout)
        first, *rows, last = map(json.loads, written.splitlines())
        self.assertEqual((first["machine"]["num_threads"], first["machine"]["device"]), (1, "cpu"))
        self.assertGreaterEqual(first["load_average"], 0)
        for limit in ["copy_gb_per_s", "float32_gflop_per_s", "bfloat16_gflop_per_s", "empty_call_us"]:
            self.assertGreater(first["limits"][limit], 0)
        self.assertIsNone(first["limits"]["empty_kernel_us"])  # a CPU has no kernels
        self.assertGreater(last["peak_memory_bytes"], 1e7)
        self.assertEqual([(row["dtype"], row["buffers"], row["variant"]) for row in rows],
                         [(dtype, buffers, variant) for dtype in ("float32", "bfloat16")
                          for buffers in ("hot", "cold") for variant in ("ours", "eager", "gemm")])
        for row in rows:
            self.check_row(row)

    def test_tables(self):
        result = self.run_to(0, *SMALL)
        self.assertIn("limits: copy ", result.stdout)
        self.assertIn("projection: V1 65 -> 1001, 7 tokens; float32, hot, 5 rounds, A/A ", result.stdout)
        self.assertIn("/ eager", result.stdout)
        self.assertIn("peak memory of the process: ", result.stdout)

    def test_recipe_and_flags(self):
        printed = self.run_to(0, *SMALL, "--set", "benchmark.rounds=9", "--print-config").stdout
        self.assertIn("rounds: 5", printed)
        self.assertIn("threads: 1", printed)
        self.assertNotIn("projector:", printed)
        self.assertIn("\n  benchmark.filter  (", self.run_to(0, "--help").stdout)

    def test_mistakes(self):
        def refuse(code, text, *arguments):
            result = self.run_to(code, *arguments)
            self.assertIn(text, result.stderr)
            self.assertEqual(result.stdout, "")

        refuse(2, "benchmark.suites", "--suite", "speed")
        refuse(2, "benchmark.rounds", "--rounds", "4")
        refuse(2, "benchmark.filter: expected a part of the name of a case, got 'V9'", "--filter", "V9")
        refuse(2, "'threads': expected a whole number in [0, 1024], got 5000", "--threads", 5000)
        refuse(2, "threads: expected at most", "--suite", "codec", "--threads", len(os.sched_getaffinity(0)) + 1)
        refuse(1, "device 'cuda:99'", "--device", "cuda:99")
        refuse(1, "nowhere", "--suite", "cache", "--receiver", "nowhere")


if __name__ == "__main__":
    unittest.main()
