"""configs/monitoring held against the monitor: promtool (of Debian's package prometheus) reads each
file, and every metric, label and bucket that an expression names is there in what a server prints.
"""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from tests.monitor.traffic_run import Traffic, samples

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "configs/monitoring"
NAME = re.compile(r"\bkvalign_\w+")
SELECTOR = re.compile(r"\b(kvalign_\w+)\s*\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\bby\s*\(([^)]*)\)")
OF_THE_SCRAPER = {"job", "instance"}


def family_of(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          check=False)


def dashboard_expressions():
    dashboard = json.loads((FOLDER / "grafana_dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def alert_expressions():
    """The rules' own texts, comments left out: names in them are metrics wherever they stand."""
    text = re.sub(r"^\s*#.*$", "", (FOLDER / "alerts.yml").read_text(), flags=re.MULTILINE)
    for rule in re.split(r"^\s*- alert: ", text, flags=re.MULTILINE)[1:]:
        yield rule.split(None, 1)[0], rule


class DeployFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        traffic = Traffic(5000, 2)
        cls.samples = samples(traffic.metrics)
        traffic.close()
        cls.labels = {name: {label for of in series for label, _ in of}
                      for name, series in cls.samples.items()}
        cls.families = {family_of(name) for name in cls.samples}
        cls.names = set(cls.samples) | cls.families

    def assert_succeeds(self, run):
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_promtool_is_there(self):
        self.assertIsNotNone(shutil.which("promtool"), "scripts/setup.sh installs it, with prometheus")

    def test_configuration(self):
        self.assert_succeeds(promtool("check", "config", FOLDER / "prometheus.yml"))

    def test_alerts_fire_where_they_should(self):
        self.assert_succeeds(promtool("test", "rules", FOLDER / "alerts_test.yml"))

    def test_each_alert_is_tested_firing_and_silent(self):
        tests = (FOLDER / "alerts_test.yml").read_text()
        for alert, _ in alert_expressions():
            self.assertRegex(tests, rf"alertname: {alert}, exp_alerts: \[\]")
            self.assertRegex(tests, rf"alertname: {alert}\n\s+exp_alerts:\n\s+- exp_labels")

    def test_promtool_reads_the_dashboards_expressions(self):
        rules = [{"record": f"panel_{i}", "expr": expr.replace("$__rate_interval", "5m")}
                 for i, (_, expr) in enumerate(dashboard_expressions())]
        self.assertGreater(len(rules), 20)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "rules.yml"
            path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
            run = promtool("check", "rules", path)
            self.assert_succeeds(run)
            self.assertIn(f"{len(rules)} rules found", run.stdout)
            rules[0]["expr"] += " +"
            path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
            self.assertNotEqual(promtool("check", "rules", path).returncode, 0)

    def check_names(self, where, text):
        names = NAME.findall(text)
        self.assertTrue(names or where == "KvalignDown", f"{where} has no metric of ours")
        for name in names:
            self.assertIn(name, self.names, where)
        for name, matchers in SELECTOR.findall(text):
            for label, value in MATCHER.findall(matchers):
                self.assertIn(label, self.labels[name] | OF_THE_SCRAPER, f"{where}: {name}")
                if label == "le":
                    self.assertIn(value, {dict(of)["le"] for of in self.samples[name]}, where)
        known = set().union(*(self.labels.get(name, set()) for name in names)) | OF_THE_SCRAPER
        for labels in GROUPED.findall(text):
            self.assertLessEqual(set(re.split(r"\s*,\s*", labels.strip())), known, where)

    def test_names_of_the_dashboard(self):
        for where, text in dashboard_expressions():
            self.check_names(where, text)

    def test_names_of_the_alerts(self):
        for where, text in alert_expressions():
            self.check_names(where, text)

    def test_names_of_the_alerts_tests(self):
        for name in NAME.findall((FOLDER / "alerts_test.yml").read_text()):
            self.assertIn(name, self.names)

    def test_every_metric_is_on_the_dashboard(self):
        shown = NAME.findall(" ".join(expr for _, expr in dashboard_expressions()))
        self.assertEqual(self.families, {family_of(name) for name in shown})

    def test_panels_do_not_overlap(self):
        dashboard = json.loads((FOLDER / "grafana_dashboard.json").read_text())
        self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(dashboard["panels"]))
        taken = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells


if __name__ == "__main__":
    unittest.main()
