"""A kvalign server in a process of its own, with what can be seen of it from outside: /proc and /metrics.

KVALIGN names the built command.
"""
import base64
import http.client
import json
import os
import pathlib
import random
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.tools.token_files import sha256, write_safetensors  # noqa: E402

KVALIGN = pathlib.Path(os.environ.get("KVALIGN", ROOT / "build/release/tools/kvalign")).resolve()
MODEL = "m"
START_SECONDS = 120  # LibTorch alone takes seconds on a busy machine


def run_tool(*arguments):
    """stdout of the command; its stderr where it fails."""
    result = subprocess.run([KVALIGN, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise SystemExit(f"kvalign {arguments[0]} ended with {result.returncode}:\n{result.stderr}")
    return result.stdout


def make_checkpoint(folder, sender_width, receiver_width):
    """A flat linear projector of these widths, trained for one epoch on a few made-up vectors: a server's load does not
    depend on what its weights are."""
    recipe = ["--config", ROOT / "configs/tests/tiny.yaml"]
    for setting in (f"generate.sender.head_dim={sender_width}", f"generate.receiver.head_dim={receiver_width}",
                    f"dataset.folder={folder}/pairs", f"run_folder={folder}/run", "projector.norm=none", "loss.task=0",
                    "train.epochs=1"):
        recipe += ["--set", setting]
    run_tool("dataset", "generate", *recipe)
    run_tool("distill-train", *recipe)
    return f"{folder}/run/checkpoint.safetensors"


def make_generating_checkpoint(folder):
    """A projector of the demo's two models, fitted to texts of random tokens, and a packet of one of these, with the ids
    of its first 4 tokens and of its last."""
    chance, texts, tokens, vocabulary = random.Random(1), 12, 48, 480
    write_safetensors(pathlib.Path(folder, "tokens.safetensors"), {
        "token_ids": ("I32", [chance.randrange(vocabulary) for _ in range(texts * tokens)]),
        "token_ends": ("I32", [i + 1 for _ in range(texts) for i in range(tokens)]),
        "sequence_offsets": ("I64", [tokens * i for i in range(texts + 1)]),
        "document_ids": ("I64", list(range(texts))),
    }, {"kvalign": json.dumps({
        "schema": 1, "created_by": "test", "source": {},
        "tokenizers": {"sender": sha256("tokenizer"), "receiver": sha256("tokenizer")},
        "documents": [sha256(str(i)) for i in range(texts)]})})
    recipe = ["--config", ROOT / "configs/demo.yaml", "--set", f"capture.tokens={folder}/tokens.safetensors", "--set",
              f"dataset.folder={folder}/pairs", "--set", f"run_folder={folder}/run", "--set",
              "projector.kind=linear_residual", "--set", "fit.kind=ridge"]
    run_tool("capture", *recipe)
    run_tool("distill-train", *recipe)
    packet = pathlib.Path(folder, "prefix.kvp")
    run_tool("encode", f"{folder}/pairs", packet, "--sequence", 0, "--sinks", 4, "--reread", 1)
    return f"{folder}/run/checkpoint.safetensors", packet.read_bytes()


class Server:
    """`kvalign serve` on a free port. `settings`: --set flags, as KEY=VALUE."""

    def __init__(self, checkpoint, *settings, model=MODEL, access_log=None):
        settings = ["serve.port=0", f"service.models=[{model}={checkpoint}]", "service.device=cpu", *settings]
        sets = [f"--set={one}" for one in settings]
        log = ["--access-log", str(access_log)] if access_log else []
        self.process = subprocess.Popen([KVALIGN, "serve", *sets, *log], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        self.address = self._read_address()
        self.url = f"http://{self.address}"
        self.access_log = access_log
        self.samples = []
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read_output)
        self._sampler = threading.Thread(target=self._sample)
        self._reader.start()
        self._sampler.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._sampler.join()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._reader.join()

    def stop(self):
        """Exit code after SIGTERM."""
        self.__exit__()
        return self.process.returncode

    def _read_address(self):
        text, deadline = "", time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if select.select([self.process.stdout], [], [], 1)[0]:
                line = self.process.stdout.readline()
                text += line
                match = re.search(r"https?://([\d.]+:\d+)", line)
                if match:
                    return match.group(1)
                if not line:
                    break
        self.process.kill()
        raise SystemExit(f"kvalign serve says no address:\n{text}")

    def _read_output(self):
        for _ in self.process.stdout:
            pass

    def _sample(self):
        while not self._stop.wait(0.1):
            self.samples.append(self.sample())

    def sample(self):
        """Now: resident MiB, threads and open descriptors of the process."""
        proc = pathlib.Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return {"time": time.monotonic(), "resident_mib": int(status["VmRSS"].split()[0]) / 1024,
                "threads": int(status["Threads"]), "descriptors": len(list((proc / "fd").iterdir()))}

    def seconds_to_close(self, descriptors, timeout):
        """Until it has no more than so many descriptors open: it closes a connection after its client has. None where
        it keeps them for longer than `timeout` seconds."""
        start = time.monotonic()
        while time.monotonic() - start < timeout:
            if self.sample()["descriptors"] <= descriptors:
                return time.monotonic() - start
            time.sleep(0.1)
        return None

    def request(self, verb, path, body=None, headers=None):
        """Status, headers and body, over a connection of its own."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(verb, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def requests_by_status(self):
        """What the server has counted of the model's requests: {status: number}."""
        counts = {}
        text = self.request("GET", "/metrics")[2].decode()
        for labels, value in re.findall(r"^kvalign_requests_total\{([^}]*)\} (\S+)$", text, re.M):
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
            if labels["model"] == MODEL:
                counts[labels["status"]] = counts.get(labels["status"], 0) + int(float(value))
        return counts

    def counted_since(self, before, total):
        """What it has counted since `before`, once that are `total` requests: it counts after it has answered."""
        for _ in range(100):
            after = self.requests_by_status()
            since = {status: count - before.get(status, 0) for status, count in after.items()}
            if sum(since.values()) >= total:
                break
            time.sleep(0.05)
        return {status: count for status, count in since.items() if count}

    def in_flight(self):
        """Requests to models that are not answered yet."""
        text = self.request("GET", "/metrics")[2].decode()
        return int(float(re.search(r"^kvalign_requests_in_flight (\S+)$", text, re.M)[1]))

    def input_width(self):
        metadata = json.loads(self.request("GET", f"/v2/models/{MODEL}")[2])
        return {one["name"]: one["shape"] for one in metadata["inputs"]}["features"][1]


def load(server, *sets, log=None):
    """The figures of one `kvalign load` of the model, whatever its exit code."""
    flags = [f"--set=load.{one}" for one in sets] + (["--log", str(log)] if log else [])
    result = subprocess.run([KVALIGN, "load", "--url", server.url, "--model", MODEL, "--json", *flags],
                            capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if not result.stdout:
        raise SystemExit(f"kvalign load ended with {result.returncode}:\n{result.stderr}")
    return json.loads(result.stdout)


def infer_request(width, tokens, request_id="good"):
    """Path, body and headers of a request for features that are always the same."""
    data = struct.pack(f"<{width * tokens}f", *(((7 * i) % 31 - 15) / 10 for i in range(width * tokens)))
    header = json.dumps({"id": request_id, "parameters": {"binary_data_output": True}, "inputs": [
        {"name": "features", "datatype": "FP32", "shape": [tokens, width],
         "parameters": {"binary_data_size": len(data)}}]}).encode()
    return (f"/v2/models/{MODEL}/infer", header + data,
            {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"})


def generate_request(packet, endpoint, max_tokens):
    """Path, body and headers of a request that goes on after a packet; `endpoint`: generate or generate_stream."""
    body = {"packet": base64.b64encode(packet).decode(), "parameters": {"max_tokens": max_tokens}}
    return f"/v2/models/{MODEL}/{endpoint}", json.dumps(body).encode(), {"Content-Type": "application/json"}


def answer_data(answer):
    """The tensors' bytes of an answer: what must not depend on what else the server does."""
    status, headers, body = answer
    headers = {name.lower(): value for name, value in headers.items()}
    return status, body[int(headers.get("inference-header-content-length", 0)):]


def growth(values):
    """From the second quarter of the values to the last: difference of the medians."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[-quarter:]) - statistics.median(values[quarter:2 * quarter])


def report(found):
    """Prints a script's figures, with a server's `exit_code` and what did not hold; the script's own exit code."""
    if found["exit_code"] != 0:
        found["failures"].append(f"the server ended with {found['exit_code']}")
    print(json.dumps(found, indent=2))
    return 1 if found["failures"] else 0
