"""results/report.schema.json: every report of results/ follows it, and broken ones do not."""
import copy
import json
import unittest
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "results/report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def errors(report):
    """What is wrong: "at/the/place: how"."""
    return ["/".join(map(str, error.absolute_path)) + ": " + error.message
            for error in VALIDATOR.iter_errors(report)]


def read(name):
    return json.loads((ROOT / f"results/{name}.json").read_text())


class ReportSchema(unittest.TestCase):
    def test_is_a_schema(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def test_every_report_follows_it(self):
        names = sorted(path.stem for path in (ROOT / "results").glob("*.json")
                       if path.name != "report.schema.json")
        self.assertGreater(len(names), 5)
        for name in names:
            with self.subTest(name):
                self.assertEqual(errors(read(name)), [])

    def test_broken_ones_are_told_where(self):
        def change(report, place, value):
            *path, last = place
            for key in path:
                report = report[key]
            if value is None:
                del report[last]
            else:
                report[last] = value

        for place, value, message in [
            (("schema",), 2, "schema: 1 was expected"),
            (("machine", "cpu"), None, "machine: 'cpu' is a required property"),
            (("ladder", 0, "first16", "nll"), "2.5", "ladder/0/first16/nll: '2.5' is not of type"),
            (("ladder", 1, "first16", "top1"), 1.5, "ladder/1/first16/top1: 1.5 is greater than"),
            (("ladder", 0, "sequences"), -1, "ladder/0/sequences: -1 is less than the minimum"),
            (("ladder", 0, "retension"), 1, "ladder/0: Additional properties are not allowed"),
            (("ladder", 0, "all", "nll_high"), None, "ladder/0/all: 'nll_high' is a dependency"),
            (("gate",), None, ": 'gate' is a dependency of 'ladder'"),
            (("differences", 0, "unit"), "bits", "differences/0/unit: 'bits' is not one of"),
            (("reconstruction", "rows", 0, "headline", "r3"), {}, "'r3' is not one of"),
            (("reconstruction", "rows", 0, "streams", 0, "bias"), 1,
             "reconstruction/rows/0/streams/0: Unevaluated properties are not allowed"),
        ]:
            with self.subTest(place):
                report = read("demo")
                self.assertEqual(errors(report), [])
                change(report, place, value)
                self.assertIn(message, "\n".join(errors(report)))

    def test_parts_that_the_reports_here_lack(self):
        report = read("demo")
        report.update(json.loads((ROOT / "tests/evaluate/report_parts.json").read_text()))
        self.assertEqual(errors(report), [])
        for edit in [lambda all: all["certificates"]["rows"][0].pop("violations"),
                     lambda all: all["certificates"]["rows"][0]["streams"][0].update(vacuous=2),
                     lambda all: all["certificates"].pop("gate"),
                     lambda all: all["certificates"]["gate"].update(verdict="perhaps"),
                     lambda all: all["cost"]["rows"][0].pop("row"),
                     lambda all: all["cost"]["rows"][0].update(flops=[1]),
                     lambda all: all["task_success"]["rows"][0].pop("macro_f1"),
                     lambda all: all["task_success"]["rows"][0].update(recall=1),
                     lambda all: all["task_success"]["differences"][0]["mcnemar"].update(p=2),
                     lambda all: all["task_success"].update(answer="best"),
                     lambda all: all["round_trips"][0].update(way="sideways"),
                     lambda all: all["training"][0].update(unit="epoch"),
                     lambda all: all["task"]["gains"][0].pop("macro_f1"),
                     lambda all: all["training"][0]["points"][0].pop("loss")]:
            broken = copy.deepcopy(report)
            edit(broken)
            self.assertEqual(len(errors(broken)), 1)


if __name__ == "__main__":
    unittest.main()
