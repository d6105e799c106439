"""Random requests recorded by the monitor, for the tests beside this file.

ctest names the built programs in the environment: KVALIGN_TRAFFIC=build/release/tests/monitor/traffic/...
"""
import collections
import json
import os
import pathlib
import re
import subprocess
import tempfile

SAMPLE = re.compile(r'^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$')
LABEL = re.compile(r'(\w+)="([^"\\]*)"(?:,|$)')


class Traffic:
    """A run of kvalign_monitor_traffic: `folder`, `records`, `metrics` (text), `status`, `page`."""

    def __init__(self, requests, threads):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        run = subprocess.run([os.environ["KVALIGN_TRAFFIC"], self.folder, str(requests), str(threads)],
                             capture_output=True, text=True, timeout=300, check=True)
        self.microseconds_a_record = float(run.stdout)
        self.metrics = (self.folder / "metrics.txt").read_text()
        self.status = json.loads((self.folder / "status.json").read_text())
        self.page = (self.folder / "page.html").read_text()

    @property
    def records(self):
        for path in sorted(self.folder.glob("records-*.jsonl")):
            with path.open() as lines:
                yield from map(json.loads, lines)

    def close(self):
        self._folder.cleanup()


def samples(text):
    """{name: {labels as a frozenset of pairs: value}} of Prometheus' text format."""
    result = collections.defaultdict(dict)
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        sample = SAMPLE.match(line)
        assert sample, f"not a sample: {line}"
        labels = frozenset(LABEL.findall(sample["labels"] or ""))
        assert labels not in result[sample["name"]], f"twice: {line}"
        result[sample["name"]][labels] = float(sample["value"])
    return result
