"""Runs the built kvalign load against a server that keeps its own account (inference_server.py)."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from inference_server import InferenceServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
PACKET = ROOT / "tests/golden/packet_v1_token_scales.bin"
SLACK = 2  # seconds that a busy machine may add to a query


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
