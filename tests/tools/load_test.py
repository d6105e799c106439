"""kvalign load as its users meet it: what it sends, when, and what it makes of the answers.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/load_test.py
"""
import collections
import math
import pathlib
import statistics
import struct
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from inference_server import Behaviour, InferenceServer  # noqa: E402
from load_case import PACKET, ROOT, SLACK, Case, number_of  # noqa: E402


class Scenarios(Case):
    def test_single_stream_agrees_with_the_server(self):
        server = self.serve(lambda name: Behaviour(delay=2.5 if number_of(name) % 10 == 3 else 0.002))
        figures, log = self.load(server, queries=20, warmup_queries=5, latency_bound_ms=2400)
        self.assertEqual(len(server.asked), 25)
        asked = server.measured()
        self.assertEqual([query["id"] for query in log], [f"load-1-{number}" for number in range(20)])
        self.assertEqual(list(asked), [query["id"] for query in log], "one after the other")
        self.assertEqual(len({one.connection for one in server.asked}), 1, "one connection, kept alive")
        latencies = [query["done"] - query["scheduled"] for query in log]
        for query, latency in zip(log, latencies):
            delay = asked[query["id"]].behaviour.delay
            self.assertTrue(delay <= latency <= delay + SLACK, (delay, latency))
        self.check_percentiles(figures["latency_ms"], latencies)
        self.assertEqual((figures["queries"], figures["answered"], figures["good"]), (20, 20, 18))
        self.assertEqual(figures["goodput"], 0.9)
        self.assertEqual(figures["outcomes"], {"applied": 20})
        self.assertEqual(figures["version"], "2")
        self.assertEqual(figures["bounds_not_met"], [])

    def test_single_stream_bound_not_met(self):
        server = self.serve(lambda name: Behaviour(delay=2.5 if number_of(name) < 2 else 0))
        figures, _ = self.load(server, code=3, queries=19, latency_bound_ms=2400)
        self.assertEqual(figures["good"], 17)
        self.assertIn("bound not met: 89.47 % of the queries were answered within 2400 ms", self.stderr)

    def test_server_counts_from_the_arrival(self):
        """A server that stalls once makes all wait who arrive meanwhile, not only whom it was serving."""
        server = self.serve(lambda name: Behaviour(delay=1.0 if number_of(name) == 20 else 0), lock=threading.Lock())
        figures, log = self.load(server, scenario="server", queries=100, queries_per_second=50, connections=1)
        arrivals = [query["scheduled"] for query in log]
        self.assertEqual(arrivals, sorted(arrivals))
        stalled = arrivals[20]
        waited = 0
        for query in log[21:]:
            left = stalled + 1.0 - query["scheduled"]
            if left > 0:
                waited += 1
                self.assertGreaterEqual(query["done"] - query["scheduled"], left)
        self.assertGreater(waited, 25)
        slow_since_arrival = sum(query["done"] - query["scheduled"] > 0.3 for query in log)
        self.assertGreaterEqual(slow_since_arrival, 15)
        slow_since_sending = sum(query["done"] - query["sent"] > 0.3 for query in log)
        self.assertLess(slow_since_sending, slow_since_arrival / 2, "each was served soon")
        self.check_percentiles(figures["latency_ms"], [query["done"] - query["scheduled"] for query in log])
        self.check_percentiles(figures["send_delay_ms"], [query["sent"] - query["scheduled"] for query in log])
        self.assertTrue(all(query["sent"] >= query["scheduled"] for query in log))

    def test_server_arrivals_are_the_seeds(self):
        server = self.serve()
        settings = {"scenario": "server", "queries": 50, "queries_per_second": 1000}
        arrivals = []
        for seed in [1, 1, 2]:
            _, log = self.load(server, seed=seed, **settings)
            self.assertTrue(all(query["id"].startswith(f"load-{seed}-") for query in log))
            arrivals.append([query["scheduled"] for query in log])
        self.assertEqual(arrivals[0], arrivals[1])
        self.assertNotEqual(arrivals[0], arrivals[2])
        self.assertGreater(len({one.connection for one in server.asked}), 3, "several connections")

    def test_offline_is_all_at_once(self):
        server = self.serve(lambda _: Behaviour(delay=0.4))
        settings = {"scenario": "offline", "queries": 24, "connections": 8}
        figures, log = self.load(server, **settings)
        self.assertEqual({query["scheduled"] for query in log}, {0})
        self.assertTrue(1.2 <= figures["seconds"] <= 1.2 + SLACK)
        self.assertAlmostEqual(figures["queries_per_second"], 24 / figures["seconds"])
        self.assertEqual(figures["seconds"], max(query["done"] for query in log))
        self.load(server, code=3, min_queries_per_second=1000, **settings)
        self.assertIn("1000 were asked for", self.stderr)


class Inputs(Case):
    def test_random_features(self):
        server = self.serve()
        self.load(server, queries=60, tokens="[1, 5, 16]", seed=3)
        lengths = collections.Counter()
        values = []
        for asked in server.measured().values():
            [tensor] = asked.body["inputs"]
            self.assertEqual((tensor["name"], tensor["datatype"]), ("features", "FP32"))
            lengths[tensor["shape"][0]] += 1
            self.assertEqual(tensor["shape"][1], 8)
            numbers = struct.unpack(f"<{8 * tensor['shape'][0]}f", asked.tensors["features"])
            self.assertTrue(all(number != 0 for number in numbers))
            values += numbers
        self.assertEqual(set(lengths), {1, 5, 16})
        self.assertTrue(all(count > 5 for count in lengths.values()), lengths)
        self.assertLess(abs(statistics.mean(values)), 0.1)
        self.assertLess(abs(statistics.pstdev(values) - 1), 0.1)

    def test_tokens_of_the_queries_are_counted(self):
        server = self.serve()
        figures, log = self.load(server, queries=30, tokens="[2, 7]")
        tokens = sum(asked.body["inputs"][0]["shape"][0] for asked in server.measured().values())
        self.assertEqual(sum(query["tokens"] for query in log), tokens)
        self.assertAlmostEqual(figures["tokens_per_second"], tokens / figures["seconds"])

    def test_codes_are_features_divided_by_their_scales(self):
        server = self.serve()
        self.load(server, queries=20, tokens="[4]", input="codes")
        values = []
        for asked in server.measured().values():
            self.assertEqual([tensor["shape"] for tensor in asked.body["inputs"]], [[4, 8], [4]])
            codes, scales = asked.tensors["codes"], struct.unpack("<4f", asked.tensors["scales"])
            for row, scale in enumerate(scales):
                magnitudes = [code & 0x7F for code in codes[8 * row:8 * row + 8]]
                self.assertEqual(max(magnitudes), 0x7E, "the largest is E4M3FN's largest")
                values += [scale * e4m3(code) for code in codes[8 * row:8 * row + 8]]
        self.assertLess(abs(statistics.pstdev(values) - 1), 0.15)

    def test_packets_are_sent_in_turn(self):
        server = self.serve()
        other = ROOT / "tests/golden/packet_v1_block_scales.bin"
        self.load(server, queries=5, input="packet", packets=f"[{PACKET}, {other}]")
        sent = [asked.tensors["packet"] for asked in server.measured().values()]
        self.assertEqual(sent, [PACKET.read_bytes(), other.read_bytes()] * 2 + [PACKET.read_bytes()])

    def test_version_of_the_model(self):
        server = self.serve()
        self.load(server, queries=2, version="1")
        self.assertEqual({one.path for one in server.asked}, {"/v2/models/seed/versions/1/infer"})

    def test_inputs_that_the_model_has_not(self):
        for inputs, text in [
                ([], "the model has no input 'features'; it has: "),
                ([{"name": "features", "datatype": "FP16", "shape": [-1, 8]}], "is FP16, expected FP32"),
                ([{"name": "features", "datatype": "FP32", "shape": [-1, -1]}], "has shape [-1,-1], expected one")]:
            server = InferenceServer(inputs=inputs or [{"name": "x", "datatype": "FP32", "shape": [-1]}])
            with server:
                self.load(server, code=1)
                self.assertIn(text, self.stderr)
        server = self.serve(inputs=[{"name": "codes", "datatype": "UINT8", "shape": [-1, 8]},
                                    {"name": "scales", "datatype": "FP32", "shape": [-1, 3]}])
        self.load(server, code=1, input="codes")
        self.assertIn("has 3 numbers for 8 codes", self.stderr)


class Generate(Case):
    def test_pieces(self):
        server = self.serve(lambda name: Behaviour(delay=0.1, pieces=4, pause=0.05))
        figures, log = self.load(server, queries=6, request="generate", packets=f"[{PACKET}]", max_tokens=9)
        for asked in server.measured().values():
            self.assertEqual(asked.path, "/v2/models/seed/generate_stream")
            self.assertEqual(asked.tensors["packet"], PACKET.read_bytes())
            self.assertEqual(asked.body["parameters"], {"max_tokens": 9})
        first = [query["pieces"][0] - query["scheduled"] for query in log]
        between = [b - a for query in log for a, b in zip(query["pieces"], query["pieces"][1:])]
        self.assertEqual(len(between), 18)
        self.check_percentiles(figures["first_piece_ms"], first)
        self.check_percentiles(figures["between_pieces_ms"], between)
        self.assertTrue(all(0.15 <= seconds <= 0.15 + SLACK for seconds in first), first)
        # A piece that came late makes the next pause short, so only their sum is bounded from below.
        self.assertTrue(all(query["pieces"][3] - query["sent"] >= 0.3 for query in log))
        self.assertEqual((figures["pieces"], figures["outcomes"]), (24, {"applied": 6}))
        self.assertAlmostEqual(figures["pieces_per_second"], 24 / figures["seconds"])

    def test_streams_that_fail(self):
        faults = {1: Behaviour(stream_fault="cut"), 2: Behaviour(stream_fault="error"), 3: Behaviour(status=503)}
        server = self.serve(lambda name: faults.get(number_of(name), Behaviour()))
        figures, _ = self.load(server, queries=5, request="generate", packets=f"[{PACKET}]")
        self.assertEqual(figures["errors"], {"lost": 1, "failed": 1, "503": 1})
        self.assertEqual((figures["answered"], figures["pieces"]), (2, 6))


def e4m3(code):
    """The value of a code: OCP 8-bit Floating Point Specification, section 5."""
    sign = -1 if code & 0x80 else 1
    exponent, mantissa = (code >> 3) & 15, code & 7
    value = math.ldexp(mantissa, -9) if exponent == 0 else math.ldexp(8 + mantissa, exponent - 10)
    return sign * value


if __name__ == "__main__":
    unittest.main()
