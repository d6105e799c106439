"""Clips -> scenes: spans of equal length, each with its middle frame as the image.

Spans begin at a clip's first frame and end with the last annotated one: annotations do not say how
long a clip is. The frames of a clip share a document, its name.
"""

import argparse
import dataclasses
import pathlib
import string

from .. import CaptureError
from .samples import Scene

MOST_FRAMES = 10_000_000  # days of film: a larger number is a slip, and would make as many spans


def frames_pattern(text):
    """Checks a path with {frame} and maybe {clip}, such as frames/{clip}_{frame:06d}.jpg."""
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        text.format(clip="clip", frame=1)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"expected a path with {{frame}} and maybe {{clip}}, got {text} ({error})"
        ) from error
    if not {"frame"} <= fields <= {"frame", "clip"}:
        raise argparse.ArgumentTypeError(
            f"expected a path with {{frame}} and maybe {{clip}}, got {text}"
        )
    return text


@dataclasses.dataclass
class Clip:
    name: str
    file: str  # the annotation file
    first_frame: int
    last_frame: int  # the last annotated one; before the first: none is
    weights: object  # (first frame, last frame) -> {class: weight}


class ClipsByName(dict):
    """Clips, of which no two may have one name: they would share frames and a document."""

    def add(self, clip):
        if clip.name in self:
            raise CaptureError(
                f"{clip.file}: clip {clip.name} is also in {self[clip.name].file}; give one file"
            )
        self[clip.name] = clip


def scenes(clips, pattern, length, stride, left_out):
    """The spans of all clips. `pattern`: where frames are, see frames_pattern."""
    if len(clips) > 1 and pattern.format(clip="a", frame=1) == pattern.format(clip="b", frame=1):
        raise CaptureError(
            f"--frames {pattern}: expected {{clip}} in it, as there are {len(clips)} clips"
        )
    for clip in clips.values():
        end = clip.first_frame  # of what the spans cover
        for first in range(clip.first_frame, clip.last_frame - length + 2, stride):
            end = first + length
            image = pattern.format(clip=clip.name, frame=first + length // 2)
            span = {"clip": clip.name, "first_frame": first, "last_frame": end - 1}
            yield Scene(
                pathlib.Path(image),
                clip.weights(first, end - 1),
                clip.name,
                {"file": clip.file} | span,
            )
        if clip.last_frame < clip.first_frame:
            left_out.add("clips without annotations", clip.name)
        elif end <= clip.last_frame:
            rest = clip.last_frame - end + 1
            left_out.add("frames at the end of a clip, too few for a span", clip.name, rest)
