"""ActEV activity JSON -> clips; an activity weighs the frames of a span in which it goes on.

"localization" says of each file from which frame (counted from 1) an activity goes on (1) and from
which no longer (0). Two instances of an activity in one frame count twice. Objects are not read.
"""

import pathlib
import re

from . import spans
from .located_json import JsonFile

RULE = "the activity that goes on in most frames of the span, each instance counted"
QUESTION = "What is going on in this picture?"
FRAME = re.compile(r"0|[1-9][0-9]{0,17}")


def _intervals(signal):
    """[(first frame, last frame)] of a signal {frame: 1 or 0}."""
    points = []
    for key, node in signal.members():
        if not FRAME.fullmatch(key) or int(key) >= spans.MOST_FRAMES:
            raise node.fault(f"expected a frame number below {spans.MOST_FRAMES}, got {key!r}")
        points.append((int(key), node.one_of(0, 1), node))
    points.sort(key=lambda point: point[0])
    for index, (_, state, node) in enumerate(points):
        if state != (index + 1) % 2:
            raise node.fault("expected 1 and 0 in turn by frame, first 1, got " + str(state))
    if len(points) % 2:
        raise points[-1][2].fault("expected a later frame with 0, where the activity ends")
    frames = [frame for frame, _, _ in points]
    return [(begin, end - 1) for begin, end in zip(frames[::2], frames[1::2])]


class Actev:
    def __init__(self, paths, pattern, length, stride):
        self._spans, self._clips = (pattern, length, stride), spans.ClipsByName()
        self._instances = []  # the activity of each
        names = set()
        for path in map(pathlib.Path, paths):
            names |= self._read(path, JsonFile(path).root)
        self._names = sorted(names)

    def _read(self, path, root):
        """Takes in the clips of a file; returns the names of its activities."""
        files = {}
        for element in root.member("filesProcessed").elements():
            name = pathlib.PurePosixPath(element.text()).stem
            if name in files.values():
                raise element.fault(f"expected every clip once, got {name} again")
            files[element.value] = name
        found = {name: [] for name in files.values()}
        names = set()
        for activity in root.member("activities").elements():
            label = activity.member("activity").text()
            names.add(label)
            for file, signal in activity.member("localization").members():
                if file not in files:
                    raise signal.fault(f"expected a file of filesProcessed, got {file!r}")
                found[files[file]] += [(label, *span) for span in _intervals(signal)]
        for name, instances in found.items():
            last = max((end for _, _, end in instances), default=0)
            self._clips.add(spans.Clip(name, path.name, 1, last, _weights_of(instances)))
            self._instances += [label for label, _, _ in instances]
        return names

    def known_classes(self):
        return self._names

    def usual_classes(self):
        return self._names

    def scenes(self, classes, left_out):
        for name in self._instances:
            if name not in classes.names:
                left_out.add("activities that were not chosen", name)
        yield from spans.scenes(self._clips, *self._spans, left_out)


def _weights_of(instances):
    def weights(first_frame, last_frame):
        total = {}
        for name, begin, end in instances:
            frames = min(end, last_frame) - max(begin, first_frame) + 1
            if frames > 0:
                total[name] = total.get(name, 0) + frames
        return total

    return weights
