#!/usr/bin/env python3
"""Generates documents of a small world: the incident log of a camera, for the demo's models.

    incident_log.py --documents N --seed S --output FILE [--labels FILE] [--task FILE]

Every document draws a camera, a place, zones and a few objects, each with a tag, a colour and a
load, and then tells what they do, and where smoke and fire are. Whatever was drawn is said once and
needed again in the checks and the report, so that a continuation can only be told by who has
read the beginning. The report answers three questions about the end of the log: an alarm (2
classes), a severity (5 classes) and an incident code (20 classes).

Deterministic: document i of a seed is the same on every machine and for every --documents.
Documents end with a line "<|endoftext|>". --labels writes one JSON object a document; --task
one with the labels as words (alarm, severity, code) and the text before each (before_alarm, ..), of
which scripts/task_file.py makes questions.
"""

import argparse
import dataclasses
import json
import pathlib
import random
import sys

END_OF_TEXT = "<|endoftext|>"
PLACES = ("mill", "harbour", "airport", "station", "school", "market", "tower", "bridge", "farm",
          "museum", "stadium", "depot")  # fmt: skip
ZONES = ("gate", "yard", "dock", "shed", "roof", "hall", "ramp", "tank", "fence", "path", "stair",
         "pool")  # fmt: skip
COLOURS = ("red", "blue", "green", "grey", "white", "black", "brown", "yellow")
LOADS = ("boxes", "tools", "pipes", "fuel", "sand", "wood", "bags", "glass", "paper", "ropes")
KINDS = ("person", "truck", "dog", "bike", "drone")
TAG_LETTERS = "bcdfghjkmnpqrstvwxz"
HAZARDS = ("none", "smoke", "spread", "fire")
NUM_CHECKS = 4
MOST_EVENTS = 3  # before each check and before the report


@dataclasses.dataclass
class Thing:
    tag: str
    kind: str
    colour: str
    load: str
    zone: str
    came_from: str


class World:
    """The state that the lines of one document describe."""

    def __init__(self, generator):
        self._random = generator
        self.camera = generator.randrange(10, 100)
        self.place = generator.choice(PLACES)
        self.zones = generator.sample(ZONES, 4)
        count = generator.choice((3, 3, 4))
        tags = [
            letter + str(generator.randrange(1, 10))
            for letter in generator.sample(TAG_LETTERS, count)
        ]
        kinds = [generator.choice(KINDS) for _ in range(count)]
        colours = generator.sample(COLOURS, count)  # a colour alone names a thing
        loads = generator.sample(LOADS, count)
        self.things = [
            Thing(tag, kind, colour, load, generator.choice(self.zones), "outside")
            for tag, kind, colour, load in zip(tags, kinds, colours, loads)
        ]
        self.smoke, self.fire = [], None

    @property
    def hazard(self):
        if self.fire:
            return "fire"
        return HAZARDS[min(len(self.smoke), 2)]

    @property
    def severity(self):
        """1 nothing, 2 smoke in one zone, 3 in several, 4 fire, 5 fire in a person's zone."""
        if not self.fire:
            return 1 + HAZARDS.index(self.hazard)
        return 5 if any(t.kind == "person" and t.zone == self.fire for t in self.things) else 4

    @property
    def alarm(self):
        return self.severity >= 3

    @property
    def code(self):
        """The hazard and the kind of the thing that was seen first."""
        return len(KINDS) * HAZARDS.index(self.hazard) + KINDS.index(self.things[0].kind)

    @staticmethod
    def _named(thing):
        return f"{thing.tag} the {thing.colour} {thing.kind} with {thing.load}"

    def introduce(self, thing):
        return f"{self._named(thing)} enters {thing.zone}."

    def event(self, seen):
        """A line about what happens next, to one of the things seen so far or to the fire."""
        if self._random.random() < 0.2:
            return self._hazard_event(seen)
        thing = self._random.choice(seen)
        name = self._random.choice((thing.tag, f"{thing.colour} {thing.kind}"))
        if thing.came_from != "outside" and self._random.random() < 0.35:
            thing.zone, thing.came_from = thing.came_from, thing.zone
            return f"{name} goes back to {thing.zone}."
        target = self._random.choice([zone for zone in self.zones if zone != thing.zone])
        thing.zone, thing.came_from = target, thing.zone
        return f"{name} leaves {thing.came_from} for {target}."

    def _hazard_event(self, seen):
        if self.fire:
            self.fire, zone, self.smoke = None, self.fire, []
            return f"fire in {zone} is out."
        if not self.smoke:
            self.smoke = [self._random.choice(seen).zone]
            return f"smoke rises in {self.smoke[0]}."
        if len(self.smoke) == 1 and self._random.random() < 0.5:
            clear = [zone for zone in self.zones if zone not in self.smoke]
            self.smoke.append(self._random.choice(clear))
            return f"smoke moves from {self.smoke[0]} on to {self.smoke[1]}."
        self.fire = self._random.choice(self.smoke)
        return f"fire breaks out in {self.fire}."

    def check(self, seen):
        """What a look at part of the scene says."""
        chosen = [thing for thing in seen if self._random.random() < 0.6] or [seen[-1]]
        return ["check.", *self._state(chosen)]

    def _state(self, things):
        lines = [
            f"{self._named(thing)} is in {thing.zone}, came from {thing.came_from}."
            for thing in things
        ]
        return [*lines, self._hazard_line(), f"alarm {'yes' if self.alarm else 'no'}."]

    def _hazard_line(self):
        if self.fire:
            return f"fire in {self.fire}."
        return f"smoke in {' and '.join(self.smoke)}." if self.smoke else "no smoke."

    def report(self):
        return [
            f"report. camera {self.camera} at {self.place}.",
            *self._state(self.things),
            f"severity {self.severity}.",
            f"code {self.code:02d}.",
        ]


def document(seed, number):
    """(text, labels) of one document: a log of NUM_CHECKS checks and a report."""
    generator = random.Random(f"{seed}/{number}")
    world = World(generator)
    minute, step = generator.randrange(1, 10), generator.randrange(1, 6)
    lines = [f"camera {world.camera} at {world.place}, zones {', '.join(world.zones)}."]
    seen = []

    def happens(line):
        nonlocal minute
        lines.append(f"{minute:02d} {line}")
        minute += step

    for thing in world.things:
        seen.append(thing)
        happens(world.introduce(thing))
    for look in range(NUM_CHECKS + 1):
        for _ in range(generator.randrange(1, MOST_EVENTS + 1)):
            happens(world.event(seen))
        lines += world.check(seen) if look < NUM_CHECKS else world.report()
    labels = {"alarm": int(world.alarm), "severity": world.severity - 1, "code": world.code}
    return "\n".join(lines) + "\n", labels


def task(text, labels):
    """A line of --task: each label as the report words it, and the text that comes before it."""
    words = {
        "alarm": "yes" if labels["alarm"] else "no",
        "severity": str(labels["severity"] + 1),
        "code": f"{labels['code']:02d}",
    }
    before = {f"before_{name}": text[: text.rindex(f"\n{name} ")] for name in words}
    return json.dumps(words | before) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", required=True, type=int, metavar="N")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument("--labels", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--task", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    made = [document(options.seed, number) for number in range(options.documents)]
    options.output.write_text("".join(f"{text}{END_OF_TEXT}\n" for text, _ in made))
    if options.labels:
        options.labels.write_text("".join(json.dumps(labels) + "\n" for _, labels in made))
    if options.task:
        options.task.write_text("".join(task(text, labels) for text, labels in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
