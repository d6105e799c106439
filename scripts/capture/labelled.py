"""Texts with labels, from a table or JSONL: read, cleaned of duplicates, and divided into texts
that are held out and texts that are not. Needs the standard library only.

Fields are named as the file's first line names its columns; in a table without such a line they are
columns counted from 1. JSONL has one object a line.
"""

import collections
import csv
import dataclasses
import pathlib
import random

from . import CaptureError, inputs

FORMATS = ("tsv", "csv", "jsonl")


@dataclasses.dataclass
class Example:
    text: str
    label: int  # place in the classes

    @property
    def digest(self):
        return inputs.document_digest(self.text, "text")


@dataclasses.dataclass
class Source:
    """How a file of labelled texts is read."""

    path: pathlib.Path
    format: str
    text_field: str
    label_field: str

    def describe(self):
        """What a task file records, so that the same texts can be read again."""
        return {
            "name": self.path.name,
            "sha256": inputs.digest(self.path),
            "format": self.format,
            "text_field": self.text_field,
            "label_field": self.label_field,
        }

    def rows(self):
        """(line number, text, label) of every row."""
        rows = self._objects() if self.format == "jsonl" else self._table()
        for number, text, label in rows:
            where = f"{self.path}:{number}"
            for field, value in ((self.text_field, text), (self.label_field, label)):
                if not isinstance(value, str) or not value.strip():
                    raise CaptureError(
                        f"{where}: {field}: expected a text that is not empty, got {value!r}"
                    )
            yield number, text.strip(), label.strip()

    def _objects(self):
        for number, value in inputs.read_jsonl(self.path, (self.text_field, self.label_field)):
            label = value[self.label_field]
            yield number, value[self.text_field], str(label) if isinstance(label, int) else label

    def _table(self):
        width, places = None, self._column_numbers()
        for number, row in self._lines():
            if width is None:
                width = len(row)
                if places is None:
                    places = [self._column(row, field) for field in self._fields]
                    continue
                if max(places) >= width:
                    raise CaptureError(
                        f"{self.path}:{number}: expected at least {max(places) + 1} columns, got "
                        f"{width}"
                    )
            if len(row) != width:
                raise CaptureError(
                    f"{self.path}:{number}: expected {width} columns as in the first line, got "
                    f"{len(row)}"
                )
            yield number, *(row[place] for place in places)

    def _lines(self):
        """(line number, columns). In a table with tabs a quotation mark is part of the text."""
        lines = inputs.read_utf8(self.path).splitlines(keepends=True)
        if self.format == "tsv":
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n").split("\t")
            return
        reader = csv.reader(lines, strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise CaptureError(f"{self.path}:{reader.line_num}: not CSV ({error})") from error

    @property
    def _fields(self):
        return self.text_field, self.label_field

    def _column_numbers(self):
        if not all(field.isdigit() and int(field) > 0 for field in self._fields):
            return None
        return [int(field) - 1 for field in self._fields]

    def _column(self, header, field):
        if field not in header:
            raise CaptureError(
                f"{self.path}:1: expected a column {field!r}, found {', '.join(header)}. In a file "
                "without names give the columns' numbers, from 1."
            )
        return header.index(field)


@dataclasses.dataclass
class Examples:
    """Each text once, in the order of the file; `dropped` counts rows by why they are not here."""

    classes: list  # labels
    examples: list
    dropped: dict


def read_examples(source, classes):
    """`classes`: the labels that count; None: all, in alphabetical order."""
    rows = list(source.rows())
    if classes is None:
        classes = sorted({label for _, _, label in rows})
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise CaptureError(f"{source.path}: expected at least 2 different classes, got {classes}")
    dropped = collections.Counter()
    labels = collections.defaultdict(set)
    for _, text, label in rows:
        labels[text].add(label)
    examples, seen = [], set()
    for _, text, label in rows:
        if label not in classes:
            dropped["other_class"] += 1
        elif len(labels[text]) > 1:
            dropped["text_with_two_labels"] += 1
        elif text in seen:
            dropped["duplicate"] += 1
        else:
            seen.add(text)
            examples.append(Example(text, classes.index(label)))
    missing = [
        name for place, name in enumerate(classes) if all(e.label != place for e in examples)
    ]
    if missing:
        raise CaptureError(
            f"{source.path}: expected texts of every class, found none of {', '.join(missing)}. "
            f"Labels there are: {', '.join(sorted({label for _, _, label in rows}))[:200]}"
        )
    return Examples(classes, examples, dict(dropped))


def hold_out(examples, num_classes, counts, seed):
    """The held-out examples in random order: `counts` is {"texts": N} or {"texts_per_class": N}."""
    generator = random.Random(seed)
    order = list(examples)
    generator.shuffle(order)
    groups = [order]
    wanted = counts.get("texts")
    if wanted is None:
        wanted = counts["texts_per_class"]
        groups = [[e for e in order if e.label == label] for label in range(num_classes)]
    for group in groups:
        if len(group) < wanted:
            of_what = "each class" if len(groups) > 1 else "all"
            raise CaptureError(
                f"expected {wanted} texts to hold out of {of_what}, there are {len(group)}. Hold "
                "out fewer, or raise --max-tokens."
            )
    # Anew: a rarer class would come last.
    chosen = [example for group in groups for example in group[:wanted]]
    generator.shuffle(chosen)
    return chosen
