"""VIRAT 2.0 object files (CLIP.viratdata.objects.txt) -> clips; a class weighs the area of its
boxes over the frames of a span.

A row is one object in one frame, eight whole numbers: object id, duration, frame (from 0), the
box's left, top, width and height in pixels, and the type. Unknown objects are no class unless
chosen.
"""

import pathlib
import re

from .. import CaptureError
from ..inputs import read_utf8
from . import REMEDY, spans

RULE = "the class whose boxes cover the largest area in all frames of the span"
QUESTION = "Which kind of object takes up most of this picture?"
TYPES = ("unknown", "person", "car", "vehicle", "object", "bicycle")
SUFFIX = ".viratdata.objects.txt"
NUMBER = re.compile(r"-?[0-9]{1,18}")


def _row(path, number, line):
    """(object id, frame, area, class) of a line."""
    fields = line.split()
    if len(fields) != 8 or not all(map(NUMBER.fullmatch, fields)):
        raise CaptureError(
            f"{path}:{number}: expected 8 whole numbers (object id, duration, frame, left, top, "
            f"width, height, type), got {line.strip()!r}{REMEDY}"
        )
    identity, _, frame, _, _, width, height, kind = map(int, fields)
    for name, value in (("frame", frame), ("width", width), ("height", height)):
        if value < 0:
            raise CaptureError(
                f"{path}:{number}: {name}: expected a number from 0, got {value}{REMEDY}"
            )
    if frame >= spans.MOST_FRAMES:
        raise CaptureError(
            f"{path}:{number}: frame: expected a number below {spans.MOST_FRAMES}, got {frame}"
            f"{REMEDY}"
        )
    if not 0 <= kind < len(TYPES):
        raise CaptureError(
            f"{path}:{number}: type: expected 0 to {len(TYPES) - 1}, got {kind}{REMEDY}"
        )
    return identity, frame, width * height, TYPES[kind]


class Virat:
    def __init__(self, paths, pattern, length, stride, least_area):
        self._paths = [pathlib.Path(path) for path in paths]
        self._spans, self._least_area = (pattern, length, stride), least_area

    def known_classes(self):
        return list(TYPES)

    def usual_classes(self):
        return list(TYPES[1:])

    def scenes(self, classes, left_out):
        clips = spans.ClipsByName()
        for path in self._paths:
            clips.add(self._clip(path, classes, left_out))
        yield from spans.scenes(clips, *self._spans, left_out)

    def _clip(self, path, classes, left_out):
        if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
            raise CaptureError(f"{path}: expected a name like CLIP{SUFFIX}, which names the clip")
        seen, frames, last = set(), {}, -1
        for number, line in enumerate(read_utf8(path).split("\n"), 1):
            if not line.strip():
                continue
            identity, frame, area, name = _row(path, number, line)
            last = max(last, frame)
            if (identity, frame) in seen:
                left_out.add("boxes of an object that has one in that frame", f"{path}:{number}")
            elif name not in classes.names:
                left_out.add("boxes of classes that were not chosen", name)
            elif area < self._least_area:
                left_out.add(f"boxes of less than {self._least_area:g} pixels", f"{path}:{number}")
            else:
                here = frames.setdefault(frame, {})
                here[name] = here.get(name, 0) + area
            seen.add((identity, frame))

        def weights(first_frame, last_frame):
            total = {}
            for frame in range(first_frame, last_frame + 1):
                for name, area in frames.get(frame, {}).items():
                    total[name] = total.get(name, 0) + area
            return total

        return spans.Clip(path.name[: -len(SUFFIX)], path.name, 0, last, weights)
