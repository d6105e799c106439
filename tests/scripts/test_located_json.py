"""located_json.py: every fault of a JSON file has its line and column, and says what was expected.

Needs the packages of scripts/tokenise.py: .deps/venv/bin/python -m unittest, or pytest.
"""

import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

from capture import CaptureError
from capture.annotations.located_json import JsonFile, place_of

NESTED = """ {
  "info": {"list": [1, {"deep": "}]"}], "text": "a \\"quoted\\" [text]"},
  "empty": [ ], "none": {},
  "wanted": [10, {"a": [], "b" : [true, null]},
    -1.5e3]
}
"""


class LocatedJsonTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = pathlib.Path(temporary.name) / "a.json"

    def root(self, text):
        self.path.write_text(text)
        return JsonFile(self.path).root

    def assert_fault(self, text, act, *arguments):
        with self.assertRaises(CaptureError) as raised:
            act(*arguments)
        self.assertEqual(str(raised.exception), f"{self.path}:{text}; correct it or take it out")

    def test_places_are_those_of_the_values(self):
        for path, begins in (
            ((), "{\n"),
            (("info", "list", 1, "deep"), '"}]"'),
            (("info", "text"), '"a \\"'),
            (("empty",), "[ ]"),
            (("wanted", 0), "10"),
            (("wanted", 1, "b", 1), "null"),
            (("wanted", 2), "-1.5e3"),
        ):
            self.assertTrue(NESTED[place_of(NESTED, path) :].startswith(begins), path)

    def test_every_place_is_found_in_text_of_any_layout(self):
        value = json.loads(NESTED)

        def paths(node, path=()):
            yield path, node
            if not isinstance(node, dict | list):
                return
            for step, child in node.items() if isinstance(node, dict) else enumerate(node):
                yield from paths(child, (*path, step))

        for text in (json.dumps(value), json.dumps(value, indent=3), NESTED):
            for path, node in paths(value):
                found, _ = json.JSONDecoder().raw_decode(text, place_of(text, path))
                self.assertEqual(found, node)

    def test_wrong_kinds_are_told_with_line_and_column(self):
        root = self.root('{\n"a": [1,\n  "two", true, "", 1.5, -1, NaN, 1e999, "\\ud800"]}')
        one, two, true, empty, half, below, nan, infinite, surrogate = root.member("a").elements()
        for text, act in (
            ("1:1: expected a list, got " + '{"a": [1, "two", true, "", 1.5, -1, NaN, Infinity, '
             '"\\ud80...', lambda: list(root.elements())),
            ("1:1: expected an object with 'b', which is missing", lambda: root.member("b")),
            ("2:7: a[0]: expected a text, got 1", one.text),
            ("2:7: a[0]: expected an object, got 1", lambda: one.member("x")),
            ("2:7: a[0]: expected an object, got 1", lambda: list(one.members())),
            ('3:3: a[1]: expected a whole number, got "two"', two.whole),
            ('3:3: a[1]: expected a finite number from 0, got "two"', two.size),
            ("3:10: a[2]: expected a whole number, got true", true.whole),
            ("3:10: a[2]: expected a finite number from 0, got true", true.size),
            ("3:10: a[2]: expected 0 or 1, got true", lambda: true.one_of(0, 1)),
            ("3:16: a[3]: expected a text of Unicode characters, got ''", empty.text),
            ("3:20: a[4]: expected a whole number, got 1.5", half.whole),
            ("3:25: a[5]: expected a finite number from 0, got -1", below.size),
            ("3:29: a[6]: expected a finite number from 0, got NaN", nan.size),
            ("3:34: a[7]: expected a finite number from 0, got Infinity", infinite.size),
            ("3:41: a[8]: expected a text of Unicode characters, got '\\ud800'", surrogate.text),
        ):  # fmt: skip
            self.assert_fault(text, act)

    def test_right_values_are_read(self):
        root = self.root('{"text": "caf\\u00e9", "whole": 3, "half": 0.5, "one": 1}')
        self.assertEqual(root.member("text").text(), "café")
        self.assertEqual(root.member("whole").whole(), 3)
        self.assertEqual(root.member("half").size(), 0.5)
        self.assertEqual(root.member("one").one_of(0, 1), 1)

    def test_a_key_given_twice_is_told_where_it_comes_again(self):
        node = self.root('{"a": [{"1": 1,\n "x": {"1": 5},\n "1": 0}]}').member("a")
        (first,) = node.elements()
        text = "3:2: a[0]: expected every key once, got '1' again"
        self.assert_fault(text, first.member, "1")
        self.assert_fault('1:7: a: expected a text, got ["an object with 1 twice"]', node.text)

    def test_what_is_not_json_is_told_with_line_and_column(self):
        for content, text in (
            ('{"a": [1,\n 2', "a.json:2:3: not JSON .Expecting ',' delimiter.; is the file whole?"),
            ("", "a.json:1:1: not JSON"),
            ("[" * 200000, "a.json: cannot be read as JSON"),
            ("[" + "9" * 5000 + "]", "a.json: cannot be read as JSON"),
        ):
            with self.assertRaisesRegex(CaptureError, text):
                self.root(content)
        with self.assertRaisesRegex(CaptureError, "no such file"):
            JsonFile(self.path.with_name("missing"))


if __name__ == "__main__":
    unittest.main()
