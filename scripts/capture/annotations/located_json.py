"""JSON whose faults have a line: FILE:LINE:COLUMN: path to the value: expected, got, what to do.

Files are read by json's own fast decoder. A place is looked for only once there is a fault to tell,
by walking from the beginning along the value's path: half a gigabyte of annotations stays quick to
read.
"""

import json
import math
import re

from .. import CaptureError
from ..inputs import read_utf8
from . import REMEDY

SPACE = re.compile(r"[ \t\n\r]*")
SURROGATE = re.compile("[\ud800-\udfff]")
SHOWN = 60  # characters of a wrong value that a message repeats
KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


class Repeated:
    """Stands for an object that has a key twice: of which json would silently keep the last."""

    def __init__(self, key):
        self.key = key


def _object_of(pairs):
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    seen = set()
    return Repeated(next(key for key, _ in pairs if key in seen or seen.add(key)))


def _after(text, place, character):
    """Past the white space, `character` if it is there, and the white space after it."""
    place = SPACE.match(text, place).end()
    if text[place : place + 1] == character:
        place = SPACE.match(text, place + 1).end()
    return place


def _members(text, place):
    """(key or index, where the key begins, where the value begins) of the list or object there."""
    decode, is_object, index = json.JSONDecoder().raw_decode, text[place] == "{", 0
    place = _after(text, place, text[place])
    while text[place] not in "]}":
        step, key_place = index, place
        if is_object:
            step, place = decode(text, place)
            place = _after(text, place, ":")
        yield step, key_place, place
        _, place = decode(text, place)
        place, index = _after(text, place, ","), index + 1


def place_of(text, path):
    """Where in well-formed JSON the value of a path of keys and indices begins."""
    place = SPACE.match(text).end()
    for step in path:
        place = next(begin for found, _, begin in _members(text, place) if found == step)
    return place


class Node:
    """A value of a JSON file, and the path to it."""

    def __init__(self, source, value, path=()):
        self._source, self.value, self._path = source, value, path

    def _check(self, kind):
        if isinstance(self.value, Repeated):
            raise self._source.repeated(self._path, self.value.key)
        if not isinstance(self.value, kind) or isinstance(self.value, bool):
            raise self.fault(f"expected {KINDS[kind]}, got {self._shown()}")
        return self.value

    def _shown(self):
        text = json.dumps(self.value, default=lambda one: f"an object with {one.key} twice")
        return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."

    def fault(self, text):
        """The error that says `text` of this value."""
        return self._source.fault(self._path, text)

    def member(self, key):
        value = self._check(dict)
        if key not in value:
            raise self.fault(f"expected an object with {key!r}, which is missing")
        return Node(self._source, value[key], (*self._path, key))

    def members(self):
        """(key, node) of an object."""
        for key, value in self._check(dict).items():
            yield key, Node(self._source, value, (*self._path, key))

    def elements(self):
        for index, value in enumerate(self._check(list)):
            yield Node(self._source, value, (*self._path, index))

    def text(self):
        """A text of at least one character, all of which can be written."""
        if not self._check(str) or SURROGATE.search(self.value):
            raise self.fault(f"expected a text of Unicode characters, got {ascii(self.value)}")
        return self.value

    def whole(self):
        return self._check(int)

    def one_of(self, *values):
        if isinstance(self.value, bool) or self.value not in values:
            expected = " or ".join(map(str, values))
            raise self.fault(f"expected {expected}, got {self._shown()}")
        return self.value

    def size(self):
        """A finite number from 0."""
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not number or not 0 <= self.value < math.inf:
            raise self.fault(f"expected a finite number from 0, got {self._shown()}")
        return self.value


class JsonFile:
    def __init__(self, path):
        self._path, self._text = path, read_utf8(path)
        try:
            value = json.loads(self._text, object_pairs_hook=_object_of)
        except json.JSONDecodeError as error:
            raise CaptureError(
                f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}); is the file whole?"
            ) from error
        except (ValueError, RecursionError) as error:
            raise CaptureError(f"{path}: cannot be read as JSON ({error})") from error
        self.root = Node(self, value)

    def _error(self, place, path, text):
        line = self._text.count("\n", 0, place) + 1
        column = place - self._text.rfind("\n", 0, place)
        where = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in path
        ).lstrip(".")
        where = where and f"{where}: "
        return CaptureError(f"{self._path}:{line}:{column}: {where}{text}{REMEDY}")

    def fault(self, path, text):
        return self._error(place_of(self._text, path), path, text)

    def repeated(self, path, key):
        members = _members(self._text, place_of(self._text, path))
        places = [place for found, place, _ in members if found == key]
        return self._error(places[1], path, f"expected every key once, got {key!r} again")
