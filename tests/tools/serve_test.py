"""kvalign serve as its operators meet it: where it listens, what it logs, signals, mistakes.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/serve_test.py
"""
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
CHECKPOINT = ROOT / "tests/golden/checkpoint_v1.safetensors"
SECONDS = 120  # LibTorch alone takes seconds to load on a busy machine


class Server:
    def __init__(self, folder, *flags):
        self.log = folder / "stderr.txt"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [KVALIGN, "serve", *flags, "--set=serve.port=0", f"--set=service.models=[m={folder}/m.safetensors]",
                 "--set=service.device=cpu"], stdout=subprocess.DEVNULL, stderr=log, stdin=subprocess.DEVNULL)
        self.port = int(self.wait_for_log(r"listening on http://127\.0\.0\.1:(\d+)\n")[1])

    def ask(self, verb, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request(verb, path, body)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def wait_for_log(self, pattern):
        deadline = time.monotonic() + SECONDS
        while not (match := re.search(pattern, self.log.read_text())):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return match

    def wait_for_file(self, path):
        deadline = time.monotonic() + SECONDS
        while not path.exists():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def end(self):
        self.process.kill()
        self.process.wait()


class Serve(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        shutil.copy(CHECKPOINT, self.folder / "m.safetensors")

    def start(self, *flags):
        server = Server(self.folder, *flags)
        self.addCleanup(server.end)
        return server

    def request(self, server):
        """A request of one token, as the model's metadata describes its features."""
        inputs = json.loads(server.ask("GET", "/v2/models/m")[1])["inputs"]
        shape = [1 if size < 0 else size for size in next(i for i in inputs if i["name"] == "features")["shape"]]
        count = 1
        for size in shape:
            count *= size
        return json.dumps({"inputs": [{"name": "features", "datatype": "FP32", "shape": shape,
                                       "data": [0.5] * count}]})

    def test_answers_counts_and_logs(self):
        server = self.start("--access-log", self.folder / "access.jsonl")
        self.assertEqual(server.ask("GET", "/v2/health/ready")[0], 200)
        body = self.request(server)
        status, answer = server.ask("POST", "/v2/models/m/infer", body)
        self.assertEqual(status, 200, answer)
        self.assertEqual(server.ask("POST", "/v2/models/m/infer", body), (200, answer))
        self.assertEqual(server.ask("POST", "/v2/models/m/infer", "{")[0], 400)
        self.assertIn("<html", server.ask("GET", "/")[1])
        json.loads(server.ask("GET", "/status")[1])
        metrics = server.ask("GET", "/metrics")[1]
        counted = [line for line in metrics.splitlines() if line.startswith("kvalign_requests_total")]
        self.assertEqual(sum(int(float(line.split()[-1])) for line in counted), 3, counted)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(SECONDS), 0)
        lines = [json.loads(line) for line in (self.folder / "access.jsonl").read_text().splitlines()]
        infers = [line for line in lines if line.get("method") == "infer"]
        self.assertEqual([line["status"] for line in infers], [200, 200, 400])
        self.assertIn("infer: expected JSON", infers[2]["error"])
        self.assertEqual(infers[0]["bytes_received"], len(body))
        self.assertEqual(infers[0]["client"], "127.0.0.1")
        self.assertTrue(all(0 <= time.time() - line["time"] < SECONDS for line in lines))

    def test_says_in_json_where_it_is_and_what_it_serves(self):
        process = subprocess.Popen(
            [KVALIGN, "serve", "--json", "--set=serve.port=0", f"--set=service.models=[m={self.folder}/m.safetensors]",
             "--set=service.device=cpu"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        started = json.loads(process.stdout.readline())
        version = hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()[:12]
        self.assertEqual(started["models"], {"m": version})
        with urllib.request.urlopen(f"{started['url']}/v2/models/m", timeout=SECONDS) as answer:
            self.assertEqual(json.load(answer)["versions"], [version])
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.communicate(timeout=SECONDS)[0], "")
        self.assertEqual(process.returncode, 0)

    def test_loads_anew_on_sighup_and_keeps_what_it_has_where_it_cannot(self):
        log = self.folder / "access.jsonl"
        server = self.start("--access-log", log)
        before = json.loads(server.ask("GET", "/v2/models/m")[1])["versions"]
        (self.folder / "m.safetensors").write_bytes(b"no checkpoint")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("m stays as it is: ")
        self.assertEqual(json.loads(server.ask("GET", "/v2/models/m")[1])["versions"], before)
        log.rename(self.folder / "old.jsonl")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_file(log)
        self.assertEqual(server.ask("POST", "/v2/models/m/infer", self.request(server))[0], 200)

    def test_loses_nothing_when_it_is_stopped(self):
        server = self.start()
        body = self.request(server)
        answered, lost = [], []

        def ask_all_the_time():
            while True:
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
                    connection.connect()
                except ConnectionRefusedError:
                    return
                try:
                    connection.request("POST", "/v2/models/m/infer", body)
                    answered.append(connection.getresponse().status)
                except OSError as error:
                    lost.append(error)
                connection.close()

        clients = [threading.Thread(target=ask_all_the_time) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(SECONDS), 0, server.log.read_text())
        for client in clients:
            client.join()
        self.assertEqual(lost, [])
        self.assertEqual(set(answered), {200})

    def test_requests_are_compared_with_a_reference(self):
        recipe = ["--config", ROOT / "configs/tests/tiny_layers.yaml", "--set", f"dataset.folder={self.folder}/pairs",
                  "--set", f"run_folder={self.folder}/run"]
        checkpoint, reference = self.folder / "run/checkpoint.safetensors", self.folder / "reference"

        def run(*arguments):
            result = subprocess.run([KVALIGN, *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS,
                                    stdin=subprocess.DEVNULL)
            self.assertEqual(result.returncode, 0, result.stderr)
            return result.stdout

        run("dataset", "generate", *recipe)
        run("distill-train", *recipe)
        said = json.loads(run("reference", checkpoint, reference, *recipe))
        scores = json.loads(pathlib.Path(said["drift"]).read_text())
        self.assertEqual(len(scores["scores"]), said["scores"])
        self.assertEqual(scores["checkpoint"], hashlib.sha256(checkpoint.read_bytes()).hexdigest())
        shutil.copy(checkpoint, self.folder / "m.safetensors")
        server = self.start(f"--set=service.statistics=[m={said['statistics']}]",
                            f"--set=drift.references=[m={said['drift']}]")
        self.assertEqual(server.ask("POST", "/v2/models/m/infer", self.request(server))[0], 200)
        self.assertRegex(server.ask("GET", "/metrics")[1], r'kvalign_drift_p_value\{model="m"\} [0-9.e-]+\n')
        # Numbers that training never had are not used.
        far = self.request(server).replace("0.5", "1e6")
        self.assertIn('"fallback_reprefill"', server.ask("POST", "/v2/models/m/infer", far)[1])

    def test_mistakes(self):
        def refuse(code, text, *flags):
            result = subprocess.run([KVALIGN, "serve", *flags], capture_output=True, text=True, timeout=SECONDS,
                                    stdin=subprocess.DEVNULL)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn(text, result.stderr)
            self.assertEqual(result.stdout, "")

        model = f"--set=service.models=[m={self.folder}/m.safetensors]"
        refuse(2, "service.models")
        refuse(2, "serve.port", model, "--set=serve.port=70000")
        refuse(2, "drift.references", model, "--set=drift.references=[other=x.json]")
        refuse(2, "two of m", model, "--set=drift.references=[m=x.json,m=y.json]")
        refuse(1, "cannot listen on", model, "--set=serve.host=no.such.host.invalid")
        refuse(1, "none.pem", model, "--set=serve.tls_certificate=none.pem", "--set=serve.tls_key=none.pem")
        refuse(1, "cannot be written", model, "--access-log", "/no/such/folder/log")


if __name__ == "__main__":
    unittest.main()
