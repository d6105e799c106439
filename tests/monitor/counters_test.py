"""Counters equal the log's truth: 100,000 random requests, recorded from 8 threads that each write
a log; the log is tallied here, and compared with every number that Prometheus would read.
"""
import bisect
import collections
import math
import subprocess
import unittest

from tests.monitor.traffic_run import Traffic, samples

MODELS = {"demo", "qwen", "unused"}
PHASES = {"read", "queue", "decode", "guard", "project", "certify", "write"}
METHODS = {"infer", "generate", "generate_stream", "metadata"}
REQUESTS, THREADS = 100_000, 8
KEYS = {"kvalign_cache_tokens_total": "tokens", "kvalign_generated_tokens_total": "generated_tokens",
        "kvalign_received_bytes_total": "bytes_received", "kvalign_sent_bytes_total": "bytes_sent",
        "kvalign_fp8_elements_total": "elements", "kvalign_fp8_saturated_elements_total": "saturated"}


def known(value, names):
    return value if value in names else "other" if value else "none"


def labels(**pairs):
    return frozenset(pairs.items())


class Tally:
    """What the log says, by (metric, labels)."""

    def __init__(self, records):
        self.counts = collections.Counter()
        self.values = collections.defaultdict(list)
        for record in records:
            self.add(record)

    def add(self, record):
        model = known(record["model"], MODELS)
        method = known(record["method"], METHODS)
        self.counts["kvalign_requests_total", labels(
            model=model, method=method, status=str(record["status"]),
            outcome=record["outcome"] or "none", reason=record["reason"] or "none")] += 1
        for metric, key in KEYS.items():
            self.counts[metric, labels(model=model)] += record[key]
        phases = record["phase_seconds"]
        for phase, seconds in phases.items():
            self.values["kvalign_phase_duration_seconds",
                        labels(model=model, phase=known(phase, PHASES))].append(seconds)
        self.values["kvalign_request_duration_seconds",
                    labels(model=model, method=method)].append(math.fsum(phases.values()))
        for kind in ("certified_wire", "certified", "measured"):
            error = record[kind + "_error"]
            if error in ("inf", "nan"):
                self.counts["kvalign_undefined_errors_total", labels(model=model, kind=kind)] += 1
            elif error is not None:
                self.values[f"kvalign_{kind}_error_ratio", labels(model=model)].append(error)


class Counters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.traffic = Traffic(REQUESTS, THREADS)
        cls.samples = samples(cls.traffic.metrics)
        cls.tally = Tally(cls.traffic.records)

    @classmethod
    def tearDownClass(cls):
        cls.traffic.close()

    def test_counters(self):
        self.assertEqual(sum(count for (name, _), count in self.tally.counts.items()
                             if name == "kvalign_requests_total"), REQUESTS)
        for (name, of), count in self.tally.counts.items():
            self.assertEqual(self.samples[name][of], count, f"{name} {sorted(of)}")

    def test_there_is_no_series_that_the_log_does_not_know(self):
        for name in {name for name, _ in self.tally.counts}:
            for of, value in self.samples[name].items():
                self.assertEqual(value, self.tally.counts.get((name, of), 0), f"{name} {sorted(of)}")

    def test_histograms(self):
        for (name, of), values in self.tally.values.items():
            self.assertEqual(self.samples[name + "_count"][of], len(values))
            self.assertAlmostEqual(self.samples[name + "_sum"][of], math.fsum(values),
                                   delta=1e-12 * len(values))
            edges = {float(dict(each)["le"]): value for each, value in self.samples[name + "_bucket"].items()
                     if each - {("le", dict(each)["le"])} == of}
            self.assertGreater(len(edges), 10)
            self.assertIn(math.inf, edges)
            values.sort()
            for edge, value in edges.items():
                self.assertEqual(value, bisect.bisect_right(values, edge), f"{name} {sorted(of)} le {edge}")

    def test_drift_saw_each_score_of_the_model_that_is_watched(self):
        scores = sum(record["drift_score"] is not None for record in self.traffic.records
                     if record["model"] == "demo")
        self.assertEqual(self.samples["kvalign_drift_rank_p_value_count"], {labels(model="demo"): scores})
        status, = self.traffic.status["drift"]
        self.assertEqual(status["requests"] + status["finished_rounds"] * status["round_requests"], scores)
        self.assertEqual(status["alarms"], self.samples["kvalign_drift_alarms_total"][labels(model="demo")])

    def test_gauges(self):
        for name, value in {"kvalign_ready": 1, "kvalign_requests_in_flight": 0, "kvalign_queue_depth": 3,
                            "kvalign_queue_capacity": 64}.items():
            self.assertEqual(self.samples[name], {frozenset(): value}, name)

    def test_the_status_page_has_the_same_numbers(self):
        status = self.traffic.status
        self.assertEqual(status["requests"], REQUESTS)
        self.assertEqual(
            {labels(**{k: v for k, v in row.items() if k != "requests"}): row["requests"]
             for row in status["answers"]}, self.samples["kvalign_requests_total"])
        for group, key, metric in (("tokens", "cache", "kvalign_cache_tokens_total"),
                                   ("tokens", "generated", "kvalign_generated_tokens_total"),
                                   ("bytes", "received", "kvalign_received_bytes_total"),
                                   ("bytes", "sent", "kvalign_sent_bytes_total"),
                                   ("fp8", "elements", "kvalign_fp8_elements_total"),
                                   ("fp8", "saturated", "kvalign_fp8_saturated_elements_total")):
            self.assertEqual(status[group][key], sum(self.samples[metric].values()), metric)
        self.assertEqual({row["phase"] for row in status["phases"]}, PHASES | {"other"})
        self.assertTrue(all(row["requests"] == 1000 for row in status["phases"]))

    def test_promtool_reads_it_and_finds_nothing_against_convention(self):
        check = subprocess.run(["promtool", "check", "metrics"], input=self.traffic.metrics, text=True,
                               capture_output=True, timeout=60, check=False)
        self.assertEqual((check.returncode, check.stdout, check.stderr), (0, "", ""))

    def test_a_record_takes_microseconds(self):
        # Of eight threads on whatever machine this runs on, each waiting for the others.
        self.assertLess(self.traffic.microseconds_a_record, 1000)


class OneThread(unittest.TestCase):
    def test_percentiles_are_of_the_latest_requests(self):
        traffic = Traffic(5000, 1)
        self.addCleanup(traffic.close)
        latest = collections.defaultdict(list)
        for record in traffic.records:
            for phase, seconds in record["phase_seconds"].items():
                latest[phase if phase in PHASES else "other"].append(seconds)
        for row in traffic.status["phases"]:
            values = sorted(latest[row["phase"]][-1000:])
            self.assertEqual((row["p50"], row["p95"], row["max"]), (values[499], values[949], values[-1]))


if __name__ == "__main__":
    unittest.main()
