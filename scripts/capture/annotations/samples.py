"""Scenes -> labelled samples: the classes, the rule of the label, and the JSONL lines.

A scene is an image with the weight of each class in it (area, or frames). Its label is the number
of the class that weighs most, or with `present` 1 where that class is in it and 0 where it is not.
"""

import collections
import dataclasses
import json
import os
import pathlib

from .. import CaptureError


@dataclasses.dataclass
class Scene:
    image: pathlib.Path
    weights: dict  # {class: weight of it in this scene}
    document: str  # scenes of one document stay on one side of a split
    source: dict  # where it comes from


class LeftOut:
    """What does not become a sample, and why: every reason with its count and its first case."""

    def __init__(self):
        self._counts, self._first = collections.Counter(), {}

    def add(self, reason, case, count=1):
        self._counts[reason] += count
        self._first.setdefault(reason, case)

    def lines(self):
        return [
            f"left out: {count} {reason} (first: {self._first[reason]})"
            for reason, count in self._counts.items()
        ]


class Classes:
    """The classes that count, in the order of their labels."""

    def __init__(self, reader, chosen, present):
        """`chosen` and `present`: the options, or None."""
        known = reader.known_classes()
        self.names, self.present = chosen or reader.usual_classes(), present
        for name in self.names:
            if name not in known:
                raise CaptureError(
                    f"--classes: expected classes of the annotations ({', '.join(known)}), got "
                    f"{name!r}"
                )
        if len(set(self.names)) < len(self.names):
            raise CaptureError(f"--classes {','.join(self.names)}: expected every class once")
        if present is not None and present not in self.names:
            raise CaptureError(
                f"--present: expected one of the classes ({', '.join(self.names)}), got {present!r}"
            )

    def label_names(self):
        """What label 0, 1, ... mean."""
        return self.names if self.present is None else ["no", "yes"]

    def label_of(self, weights):
        """The label of a scene, or None where no class is in it."""
        if self.present is not None:
            return int(self.present in weights)
        here = [name for name in self.names if name in weights]
        return self.names.index(max(here, key=weights.get)) if here else None


def relative_to(folder, image):
    """The way from a folder to an image, also where folders on it are symbolic links."""
    from_folder = os.path.relpath(os.path.realpath(image.parent), os.path.realpath(folder))
    return os.path.normpath(os.path.join(from_folder, image.name))


def make_samples(scenes, classes, text, folder, left_out):
    """The lines of a sample file in `folder`. `left_out` gets the scenes without label or image."""
    samples = []
    for scene in scenes:
        weights = {name: scene.weights[name] for name in classes.names if name in scene.weights}
        label = classes.label_of(weights)
        if label is None:
            left_out.add("samples without an annotation of these classes", scene.image)
        elif not scene.image.is_file():
            left_out.add("samples whose image file does not exist", scene.image)
        else:
            samples.append(
                {
                    "image": relative_to(folder, scene.image),
                    "text": text,
                    "label": label,
                    "label_name": classes.label_names()[label],
                    "classes": list(weights),
                    "document": scene.document,
                    "source": scene.source,
                }
            )
    return samples


def encode(samples):
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in samples).encode()
