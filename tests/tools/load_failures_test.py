"""kvalign load where something goes wrong: queries, servers, certificates, and its own flags.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/load_failures_test.py
"""
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from inference_server import Behaviour, InferenceServer  # noqa: E402
from load_case import KVALIGN, PACKET, Case, command, number_of  # noqa: E402


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


if __name__ == "__main__":
    unittest.main()
