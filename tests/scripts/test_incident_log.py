"""incident_log.py: deterministic documents whose report follows from what the log says."""

import json
import pathlib
import re
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import incident_log

NAMED = re.compile(
    r"(?P<tag>\w\d) the (?P<colour>\w+) (?P<kind>\w+) with (?P<load>\w+) "
    r"(?P<verb>enters|is in) (?P<zone>\w+)(, came from (?P<came_from>\w+))?\.$"
)


def replay(lines):
    """What a reader of the log up to the report knows: independent of incident_log.World."""
    things, smoke, fire = {}, [], None
    for line in lines:
        line = re.sub(r"^\d\d+ ", "", line)
        if match := NAMED.match(line):
            if match["verb"] == "enters":
                things[match["tag"]] = match.groupdict() | {"came_from": "outside"}
        elif match := re.match(r"(.+) (leaves \w+ for|goes back to) (\w+)\.", line):
            name = match[1].split()
            (thing,) = (
                one
                for one in things.values()
                if one["tag"] == name[0] or [one["colour"], one["kind"]] == name
            )
            thing["came_from"], thing["zone"] = thing["zone"], match[3]
        elif match := re.match(r"smoke rises in (\w+)\.", line):
            smoke = [match[1]]
        elif match := re.match(r"smoke moves from \w+ on to (\w+)\.", line):
            smoke.append(match[1])
        elif match := re.match(r"fire breaks out in (\w+)\.", line):
            fire = match[1]
        elif re.match(r"fire in \w+ is out\.", line):
            smoke, fire = [], None
    return things, smoke, fire


class IncidentLogTest(unittest.TestCase):
    def test_documents_are_the_same_whenever_they_are_made(self):
        self.assertEqual(incident_log.document(1, 3), incident_log.document(1, 3))
        self.assertNotEqual(incident_log.document(1, 3), incident_log.document(2, 3))
        self.assertNotEqual(incident_log.document(1, 3), incident_log.document(1, 4))

    def test_report_follows_from_the_log(self):
        severities, codes = set(), set()
        for number in range(300):
            text, labels = incident_log.document(5, number)
            log, report = text.split("report. ")
            things, smoke, fire = replay(log.splitlines())
            told = [NAMED.match(line) for line in report.splitlines()]
            told = [match for match in told if match]
            self.assertEqual([match["tag"] for match in told], list(things))
            for match in told:
                for key in ("colour", "kind", "load", "zone", "came_from"):
                    self.assertEqual(match[key], things[match["tag"]][key], f"{number} {key}")
            people = [one["zone"] for one in things.values() if one["kind"] == "person"]
            severity = (5 if fire in people else 4) if fire else 1 + len(smoke)
            first = next(iter(things.values()))["kind"]
            code = 5 * (3 if fire else len(smoke)) + incident_log.KINDS.index(first)
            self.assertEqual(labels, {
                "alarm": int(severity >= 3), "severity": severity - 1, "code": code,
            })  # fmt: skip
            self.assertTrue(
                report.endswith(
                    f"alarm {'yes' if severity >= 3 else 'no'}.\nseverity {severity}.\n"
                    f"code {code:02d}.\n"
                )
            )
            severities.add(severity)
            codes.add(code)
        self.assertEqual(severities, {1, 2, 3, 4, 5})
        self.assertEqual(codes, set(range(20)))

    def test_files_hold_the_documents_and_their_labels(self):
        with tempfile.TemporaryDirectory() as folder:
            text, labels = pathlib.Path(folder) / "text", pathlib.Path(folder) / "labels"
            arguments = ["--documents", "4", "--seed", "9", "--output", str(text)]
            self.assertEqual(incident_log.main([*arguments, "--labels", str(labels)]), 0)
            pieces = text.read_text().split("<|endoftext|>\n")
            made = [incident_log.document(9, number) for number in range(4)]
            self.assertEqual(pieces, [document for document, _ in made] + [""])
            self.assertEqual(
                [json.loads(line) for line in labels.read_text().splitlines()],
                [one for _, one in made],
            )

    def test_a_task_is_what_comes_before_each_label(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            arguments = ["--documents", "6", "--seed", "9", "--output", str(path / "text")]
            self.assertEqual(incident_log.main([*arguments, "--task", str(path / "task")]), 0)
            pieces = (path / "text").read_text().split("<|endoftext|>\n")
            for line, piece in zip((path / "task").read_text().splitlines(), pieces):
                task = json.loads(line)
                self.assertEqual(len(task), 6)
                for word in ("alarm", "severity", "code"):
                    start = f"{task[f'before_{word}']}\n{word} {task[word]}.\n"
                    self.assertTrue(piece.startswith(start))
                    self.assertNotIn(f"\n{word} ", piece[len(start) - 1 :])
                    self.assertIn("\nreport. camera ", start)


if __name__ == "__main__":
    unittest.main()
