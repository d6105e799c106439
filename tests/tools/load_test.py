"""kvalign load as its users meet it, against a server that keeps its own account of what it was asked.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/load_test.py
"""
import collections
import json
import math
import os
import pathlib
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))
from inference_server import Behaviour, InferenceServer  # noqa: E402

KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
PACKET = ROOT / "tests/golden/packet_v1_token_scales.bin"
SLACK = 0.25  # seconds that a busy machine may add to a query


def command(url, settings, *arguments):
    sets = [f"--set=load.{key}={value}" for key, value in {"warmup_queries": 0, **settings}.items()]
    return [KVALIGN, "load", "--url", url, "--model", "seed", *sets, *map(str, arguments)]


def number_of(query_id):
    return int(query_id.rsplit("-", 1)[1])


def percentile(values, permille):
    values = sorted(values)
    return values[-(-len(values) * permille // 1000) - 1]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def serve(self, behave=None, **options):
        return self.enterContext(InferenceServer(behave, **options) if behave else InferenceServer(**options))

    def load(self, server, code=0, arguments=(), **settings):
        """The figures and, query by query, the log."""
        log = self.folder / "log.jsonl"
        result = subprocess.run(command(server.url, settings, "--json", "--log", log, *arguments), capture_output=True,
                                text=True, timeout=120, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, code, f"{result.stdout}\n{result.stderr}")
        self.stderr = result.stderr
        if not result.stdout:
            return None, None
        return json.loads(result.stdout), [json.loads(line) for line in log.read_text().splitlines()]

    def check_percentiles(self, shown, seconds):
        for key, permille in {"p50": 500, "p90": 900, "p99": 990, "p99_9": 999, "max": 1000}.items():
            self.assertAlmostEqual(shown[key], 1e3 * percentile(seconds, permille), places=6, msg=key)


class Scenarios(Case):
    def test_single_stream_agrees_with_the_server(self):
        server = self.serve(lambda name: Behaviour(delay=0.5 if number_of(name) % 10 == 3 else 0.002))
        figures, log = self.load(server, queries=40, warmup_queries=5, latency_bound_ms=400)
        self.assertEqual(len(server.asked), 45)
        asked = server.measured()
        self.assertEqual([query["id"] for query in log], [f"load-1-{number}" for number in range(40)])
        self.assertEqual(list(asked), [query["id"] for query in log], "one after the other")
        self.assertEqual(len({one.connection for one in server.asked}), 1, "one connection, kept alive")
        latencies = [query["done"] - query["scheduled"] for query in log]
        for query, latency in zip(log, latencies):
            delay = asked[query["id"]].behaviour.delay
            self.assertTrue(delay <= latency <= delay + SLACK, (delay, latency))
        self.check_percentiles(figures["latency_ms"], latencies)
        self.assertEqual((figures["queries"], figures["answered"], figures["good"]), (40, 40, 36))
        self.assertEqual(figures["goodput"], 0.9)
        self.assertEqual(figures["outcomes"], {"applied": 40})
        self.assertEqual(figures["version"], "2")
        self.assertEqual(figures["bounds_not_met"], [])

    def test_single_stream_bound_not_met(self):
        server = self.serve(lambda name: Behaviour(delay=0.5 if number_of(name) < 2 else 0))
        figures, _ = self.load(server, code=3, queries=19, latency_bound_ms=400)
        self.assertEqual(figures["good"], 17)
        self.assertIn("bound not met: 89.47 % of the queries were answered within 400 ms", self.stderr)

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
        slow = sum(query["done"] - query["scheduled"] > 0.3 for query in log)
        self.assertGreaterEqual(slow, 15)
        self.assertLessEqual(sum(query["done"] - query["sent"] > 0.3 for query in log), 3, "but each was served soon")
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
        server = self.serve(lambda _: Behaviour(delay=0.1))
        settings = {"scenario": "offline", "queries": 24, "connections": 8}
        figures, log = self.load(server, **settings)
        self.assertEqual({query["scheduled"] for query in log}, {0})
        self.assertTrue(0.3 <= figures["seconds"] <= 0.3 + SLACK)
        self.assertAlmostEqual(figures["queries_per_second"], 24 / figures["seconds"])
        self.assertEqual(figures["seconds"], max(query["done"] for query in log))
        self.load(server, code=3, min_queries_per_second=1000, **settings)
        self.assertIn("1000 were asked for", self.stderr)


class Failures(Case):
    FAULTS = {1: Behaviour(status=503), 2: Behaviour(status=503, retry_after=False), 3: Behaviour(status=404),
              4: Behaviour(fault="drop"), 5: Behaviour(fault="cut"), 6: Behaviour(fault="garbage"),
              7: Behaviour(fault="other_id"), 8: Behaviour(fault="other_size"), 9: Behaviour(delay=1.5),
              10: Behaviour(outcome="fallback_reprefill")}

    def test_each_failure_is_told_apart_and_sent_once(self):
        server = self.serve(lambda name: self.FAULTS.get(number_of(name), Behaviour()))
        figures, log = self.load(server, queries=12, timeout_seconds=1)
        self.assertEqual([(query["status"], query["error"]) for query in log],
                         [(200, ""), (503, "503"), (503, "503"), (404, "404"), (0, "lost"), (0, "lost"),
                          (200, "malformed"), (200, "mismatched"), (200, "malformed"), (0, "timeout"), (200, ""),
                          (200, "")])
        self.assertEqual(len(server.measured()), 12)
        self.assertEqual(figures["errors"],
                         {"503": 2, "404": 1, "lost": 2, "malformed": 2, "mismatched": 1, "timeout": 1})
        self.assertEqual(figures["errors_with_retry_after"], 2)  # 404 has one too
        self.assertEqual((figures["answered"], figures["good"]), (3, 2))
        self.assertEqual(figures["outcomes"], {"applied": 2, "fallback_reprefill": 1})

    def test_server_that_refuses_everything(self):
        server = self.serve(lambda _: Behaviour(status=503))
        figures, _ = self.load(server, code=1, queries=5)
        self.assertIsNone(figures["latency_ms"]["p50"])
        self.assertIn("no query was answered", self.stderr)

    def test_server_that_goes_away(self):
        """From then on each query is its own failure, and the run ends."""
        stopping = threading.Event()

        def behave(name):
            if number_of(name) == 5:
                stopping.set()
            return Behaviour(fault="drop" if number_of(name) >= 5 else "")

        with InferenceServer(behave) as server:
            stopper = threading.Thread(target=lambda: (stopping.wait(), server._server.socket.close()))
            stopper.start()
            figures, _ = self.load(server, queries=20)
            stopper.join()
        self.assertEqual(figures["answered"], 5)
        self.assertEqual(sum(figures["errors"].values()), 15)
        self.assertTrue(set(figures["errors"]) <= {"lost", "unreachable"}, figures["errors"])

    def test_interrupt_shows_what_was_done(self):
        server = self.serve(lambda _: Behaviour(delay=0.02))
        process = subprocess.Popen(command(server.url, {"queries": 100000}, "--json"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        while len(server.asked) < 10:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        shown, told = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, told)
        figures = json.loads(shown)
        self.assertTrue(figures["interrupted"])
        self.assertEqual(figures["queries"], len(server.asked))
        self.assertEqual(figures["queries"], figures["answered"])


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


class Usage(Case):
    def refuse(self, text, *arguments, code=2):
        result = subprocess.run([KVALIGN, "load", *map(str, arguments)], capture_output=True, text=True, timeout=60,
                                stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(text, result.stderr)
        self.assertEqual(result.stdout, "")

    def test_wrong_usage(self):
        model = ["--model", "seed"]
        self.refuse("load.model", "--url", "http://127.0.0.1:1")
        self.refuse("load.scenario", *model, "--scenario", "offlin")
        self.refuse("scenario server needs the rate", *model, "--scenario", "server")
        self.refuse("only scenario server has one, not offline", *model, "--scenario", "offline",
                    "--set", "load.queries_per_second=3")
        self.refuse("bound its throughput with", *model, "--scenario", "offline", "--set", "load.latency_bound_ms=3")
        self.refuse("request generate needs packet files", *model, "--set", "load.request=generate")
        self.refuse("input packet needs packet files", *model, "--set", "load.input=packet")
        self.refuse("expected at least one number of tokens", *model, "--set", "load.tokens=[]")
        self.refuse("expected http://HOST:PORT", *model, "--url", "127.0.0.1:80", code=2)

    def test_what_is_not_there(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            self.refuse("no answer (Connection)", "--model", "seed", "--url", url, code=1)
        server = self.serve()
        self.refuse("expected status 200, got 404", "--model", "other", "--url", server.url, code=1)
        self.refuse("cannot open", "--model", "seed", "--url", server.url, "--set", "load.token_file=/nowhere", code=1)
        not_a_packet = self.folder / "packet"
        not_a_packet.write_bytes(b"KV")
        self.refuse("packet is no packet: ", "--model", "seed", "--url", server.url, "--set",
                    f"load.packets=[{not_a_packet}]", "--set", "load.input=packet", code=1)

    def test_text(self):
        server = self.serve(lambda name: Behaviour(status=503 if number_of(name) == 0 else 200))
        result = subprocess.run(command(server.url, {"queries": 8, "latency_bound_ms": 5000}), capture_output=True,
                                text=True, timeout=60)
        self.assertEqual(result.returncode, 3)
        self.assertRegex(result.stdout, r"(?m)^single_stream: 8 queries \(infer\) to seed 2 in \d")
        self.assertRegex(result.stdout, r"(?m)^answered 7: applied 7$")
        self.assertRegex(result.stdout, r"(?m)^not answered: 503 1; with Retry-After 1$")
        self.assertRegex(result.stdout, r"(?m)^latency( +\d+\.\d{3}){5}$")
        self.assertRegex(result.stdout, r"(?m)^goodput 87.50 %: 7 of 8 queries applied within 5000 ms$")


class Security(Case):
    def test_bearer_token(self):
        token = self.folder / "token"
        token.write_text("secret-7\n")
        server = self.serve()
        self.load(server, queries=3, token_file=token)
        self.assertEqual({one.authorization for one in server.asked}, {"Bearer secret-7"})

    def test_tls_with_a_known_certificate_alone(self):
        certificate, key = self.folder / "certificate.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        server = self.serve(tls=tls)
        figures, _ = self.load(server, queries=3, ca_file=certificate)
        self.assertEqual(figures["answered"], 3)
        self.load(server, code=1, queries=3)
        self.assertIn("no answer (SSL", self.stderr)


def e4m3(code):
    """The value of a code: OCP 8-bit Floating Point Specification, section 5."""
    sign = -1 if code & 0x80 else 1
    exponent, mantissa = (code >> 3) & 15, code & 7
    value = math.ldexp(mantissa, -9) if exponent == 0 else math.ldexp(8 + mantissa, exponent - 10)
    return sign * value


if __name__ == "__main__":
    unittest.main()
