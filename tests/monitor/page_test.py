"""The status page in a browser: served here as the server does, its numbers are those of the JSON,
and the browser's policy finds nothing to refuse. Skipped where there is no Chromium.
"""
import contextlib
import html.parser
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

from tests.monitor.traffic_run import Traffic

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Elements(html.parser.HTMLParser):
    """Texts by id, tables' bodies by theirs, and which elements are hidden."""

    VOID = {"meta", "br", "line", "rect", "circle", "path", "use"}

    def __init__(self, page):
        super().__init__()
        self.texts, self.rows, self.hidden, self.tags = {}, {}, set(), set()
        self._open, self._body = [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        if tag in self.VOID:
            return
        self._open.append((tag, attributes.get("id")))
        if "hidden" in attributes:
            self.hidden.add(attributes.get("id"))
        if tag == "tbody":
            self._body = self.rows.setdefault(attributes["id"], [])
        elif tag == "tr" and self._body is not None:
            self._body.append([])
        elif tag in ("th", "td") and self._body:
            self._body[-1].append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "tbody":
            self._body = None

    def handle_data(self, data):
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data
        if self._body and self._open and self._open[-1][0] in ("th", "td"):
            self._body[-1][-1] += data


@contextlib.contextmanager
def served(page, status):
    """The page's address; `status` is a function that gives the code and the body of each answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            code, kind, body = {"/": (200, "text/html", page),
                                "/status": (*status()[:1], "application/json", status()[1])}.get(
                                    self.path, (404, "text/plain", ""))
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def browse(address):
    """The page's elements after some seconds, and what the browser complained of."""
    with tempfile.TemporaryDirectory() as profile:
        run = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             "--virtual-time-budget=3000", "--enable-logging=stderr", "--dump-dom", address],
            capture_output=True, text=True, timeout=120, check=True)
    return Elements(run.stdout), re.findall(r"CONSOLE.*", run.stderr)


@unittest.skipUnless(CHROMIUM, "no Chromium here")
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.traffic = Traffic(5000, 2)

    @classmethod
    def tearDownClass(cls):
        cls.traffic.close()

    def show(self, status):
        with served(self.traffic.page, lambda: (200, json.dumps(status))) as address:
            elements, complaints = browse(address)
        self.assertEqual(complaints, [])
        return elements

    def test_numbers(self):
        status = self.traffic.status
        shown = self.show(status)
        self.assertEqual(shown.texts["requests"], "5,000")
        self.assertEqual(shown.texts["queue"], "3 of 64")
        self.assertEqual(shown.texts["tokens"], f'{status["tokens"]["cache"]:,}')
        self.assertEqual(shown.texts["undefined-errors"], str(status["undefined_errors"]))
        self.assertEqual(shown.texts["verdict-title"],
                         "✗ Drift" if status["drift"][0]["alarm"] else "✓ Ready")
        self.assertEqual([row[:5] for row in shown.rows["answers"]],
                         [[f'{a["model"]} {a["method"]}', a["status"], a["outcome"], a["reason"],
                           f'{a["requests"]:,}'] for a in status["answers"]])
        self.assertEqual([row[0] for row in shown.rows["phases"]],
                         [phase["phase"] for phase in status["phases"]])
        for row, phase in zip(shown.rows["phases"], status["phases"]):
            self.assertAlmostEqual(self.seconds(row[2]), phase["p50"], delta=0.006 * phase["p50"])
        self.assertIsNone(status["errors"]["certified"]["max"])
        self.assertEqual([row[0::4] for row in shown.rows["errors"]], 
                         [["certified, as it came", "∞"], ["certified, projected", "∞"], ["measured", "∞"]])
        self.assertIn("svg", shown.tags)
        self.assertNotIn("plot-figure", shown.hidden)
        row, = shown.rows["drift"]
        self.assertEqual(row[0], "demo")
        self.assertEqual(row[4], "3")

    @staticmethod
    def seconds(text):
        value, unit = text.split()
        return float(value) * {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1}[unit]

    def test_a_server_without_requests(self):
        status = dict(self.traffic.status, requests=0, answers=[], phases=[], drift=[], models=[],
                      fp8={"elements": 0, "saturated": 0},
                      errors={"plot": None, **{kind: {"requests": 0, "p50": None, "p95": None, "max": None}
                                               for kind in ("certified_wire", "certified", "measured")}})
        shown = self.show(status)
        self.assertEqual(shown.rows["answers"], [["No request yet."]])
        self.assertEqual(shown.texts["saturated"], "–")
        self.assertIn("plot-figure", shown.hidden)
        self.assertEqual(shown.texts["verdict-title"], "✓ Ready")

    def test_markup_in_names_is_text(self):
        name = "<img src=x onerror=alert(1)>"
        shown = self.show(dict(self.traffic.status, models=[name]))
        self.assertEqual(shown.texts["name"], name)
        self.assertNotIn("img", shown.tags)

    def test_says_when_it_is_not_ready_or_drifts(self):
        drift = dict(self.traffic.status["drift"][0], alarm=True)
        shown = self.show(dict(self.traffic.status, drift=[drift]))
        self.assertEqual(shown.texts["verdict-title"], "✗ Drift")
        self.assertIn("no longer like the reference of demo", shown.texts["verdict-text"])
        shown = self.show(dict(self.traffic.status, ready=False))
        self.assertEqual(shown.texts["verdict-title"], "✗ Not ready")

    def test_says_when_nobody_answers(self):
        with served(self.traffic.page, lambda: (503, "")) as address:
            shown, _ = browse(address)
        self.assertEqual(shown.texts["verdict-title"], "✗ No answer")
        self.assertIn("status 503", shown.texts["verdict-text"])

    def test_policy_refuses_another_script(self):
        changed = self.traffic.page.replace("const POLL_MS = 2000", "const POLL_MS = 2001")
        with served(changed, lambda: (200, json.dumps(self.traffic.status))) as address:
            shown, complaints = browse(address)
        self.assertTrue(any("Content Security Policy" in line for line in complaints), complaints)
        self.assertEqual(shown.texts["verdict-title"], "… Asking")


if __name__ == "__main__":
    unittest.main()
