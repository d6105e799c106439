"""A server that speaks just enough of the Open Inference Protocol to be loaded, and misbehaves on demand.

It keeps what it was asked and what it did, request by request, for tests to compare a client's account with.
"""
import base64
import dataclasses
import http.server
import json
import struct
import threading
import time

INPUTS = [{"name": "features", "datatype": "FP32", "shape": [-1, 8]},
          {"name": "codes", "datatype": "UINT8", "shape": [-1, 8]},
          {"name": "scales", "datatype": "FP32", "shape": [-1]},
          {"name": "packet", "datatype": "UINT8", "shape": [-1]}]


@dataclasses.dataclass
class Behaviour:
    """What to do with one request. `fault`: drop, cut, garbage, other_id, other_size or silent; empty for none."""
    delay: float = 0.0
    status: int = 200
    retry_after: bool = True
    fault: str = ""
    outcome: str = "applied"
    pieces: int = 3
    pause: float = 0.0
    stream_fault: str = ""  # error or cut


@dataclasses.dataclass
class Asked:
    """One request as it came."""
    id: str
    path: str
    authorization: str
    body: dict
    tensors: dict  # name -> bytes
    came: float
    behaviour: Behaviour
    connection: tuple


def ignore(_):
    return Behaviour()


class InferenceServer:
    """`behave`: from a request's id to its Behaviour. `lock`: where one is given, one request at a time."""

    def __init__(self, behave=ignore, inputs=None, token=None, lock=None, tls=None):
        self.behave, self.inputs, self.token, self.lock = behave, inputs or INPUTS, token, lock
        self.asked = []
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.request_queue_size = 128
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def measured(self):
        """What was asked after the warm-up, by id."""
        by_id = {}
        for asked in self.asked:
            if "warmup" not in asked.id:
                assert asked.id not in by_id, f"{asked.id} came twice"
                by_id[asked.id] = asked
        return by_id


def read_tensors(body, json_bytes):
    """The request's JSON and the bytes of each input: the binary tensor extension as its text has it."""
    header = json.loads(body[:json_bytes])
    tensors, offset = {}, json_bytes
    for tensor in header["inputs"]:
        size = tensor["parameters"]["binary_data_size"]
        tensors[tensor["name"]] = body[offset:offset + size]
        assert len(tensors[tensor["name"]]) == size
        offset += size
    assert offset == len(body), "bytes after the last tensor"
    return header, tensors


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of = None

    def log_message(self, *_):
        pass

    def reply(self, status, body, headers=()):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        self.wfile.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def do_GET(self):
        if self.path.split("/")[:4] == ["", "v2", "models", "seed"]:
            metadata = {"name": "seed", "versions": ["1", "2"], "platform": "test", "inputs": self.server_of.inputs,
                        "outputs": []}
            self.reply(200, json.dumps(metadata).encode())
        else:
            self.reply(404, b'{"error":"no such model"}')

    def do_POST(self):
        came = time.monotonic()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/infer"):
            header, tensors = read_tensors(body, int(self.headers["Inference-Header-Content-Length"]))
        else:
            header = json.loads(body)
            tensors = {"packet": base64.b64decode(header["packet"], validate=True)}
        behaviour = self.server_of.behave(header["id"])
        self.server_of.asked.append(Asked(header["id"], self.path, self.headers["Authorization"], header, tensors, came,
                                          behaviour, self.client_address))
        if self.server_of.lock:
            with self.server_of.lock:
                time.sleep(behaviour.delay)
        else:
            time.sleep(behaviour.delay)
        self.answer(header, behaviour)

    def answer(self, header, behaviour):
        if behaviour.fault == "drop":
            self.close_connection = True
        elif behaviour.status != 200:
            headers = ["Retry-After: 1"] if behaviour.retry_after else []
            self.reply(behaviour.status, b'{"error":"as told"}', headers)
        elif self.path.endswith("/infer"):
            self.answer_infer(header, behaviour)
        else:
            self.answer_stream(header, behaviour)

    def answer_infer(self, header, behaviour):
        data = struct.pack("<4f", 1, 2, 3, 4)
        size = 12 if behaviour.fault == "other_size" else len(data)
        answer = json.dumps({
            "model_name": "seed", "model_version": "2",
            "id": "another" if behaviour.fault == "other_id" else header["id"],
            "parameters": {"outcome": behaviour.outcome},
            "outputs": [{"name": "cache", "datatype": "FP32", "shape": [1, size // 4],
                         "parameters": {"binary_data_size": size}}]}).encode()
        if behaviour.fault == "garbage":
            self.reply(200, b"not JSON")
        elif behaviour.fault == "cut":
            head = f"HTTP/1.1 200 X\r\nContent-Length: {len(answer) + len(data)}\r\n\r\n".encode()
            self.wfile.write(head + answer)
            self.close_connection = True
        else:
            self.reply(200, answer + data, [f"Inference-Header-Content-Length: {len(answer)}"])

    def answer_stream(self, header, behaviour):
        self.wfile.write(b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(behaviour.pieces):
            time.sleep(behaviour.pause)
            self.event({"model_name": "seed", "text_output": f"piece {number}"})
        if behaviour.stream_fault == "cut":
            self.close_connection = True
            return
        if behaviour.stream_fault == "error":
            self.event({"error": "as told"})
        else:
            self.event({"model_name": "seed", "text_output": "", "outcome": behaviour.outcome})
        self.wfile.write(b"0\r\n\r\n")

    def event(self, event):
        text = f"data: {json.dumps(event)}\n\n".encode()
        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
