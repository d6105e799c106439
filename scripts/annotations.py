#!/usr/bin/env python3
"""Turns COCO, VIRAT and ActEV annotations into labelled samples for capture_hf.py.

    annotations.py coco  --input instances.json --images DIR --output FILE
    annotations.py virat --input CLIP.viratdata.objects.txt.. --frames PATTERN --output FILE
    annotations.py actev --input activities.json.. --frames PATTERN --output FILE
    capture_hf.py --format image-text --input FILE --label-field label ...

A sample is an image, or the middle frame of a span of frames, with the classes in it. Its label is
the class of the largest area (coco: of an image's annotations, crowd regions among them; virat: of
the boxes in all frames of the span), or that goes on in most frames (actev); of equal ones the
first. --present CLASS labels 1 where that class is there and 0 elsewhere instead. What does not
become a sample is counted on stderr with the reason. The text is the same for all samples, so that
it tells nothing of the label. Samples of one clip share a document, which no split cuts through.
"""

import argparse
import collections
import pathlib
import sys

from capture import CaptureError, files
from capture.annotations import actev, coco, samples, spans, virat
from capture.inputs import positive


def class_names(text):
    return [name.strip() for name in text.split(",")]


def area(text):
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a finite number from 0, got {text}")
    return value


def question_of(options):
    if options.text is not None:
        return options.text
    if options.present is not None:
        return f"Is this in the picture: {options.present}? Answer yes or no."
    return options.format.QUESTION


def rule_of(options):
    if options.present is not None:
        return f"whether {options.present} is there"
    return options.format.RULE


def report(line):
    print(f"annotations: {line}", file=sys.stderr)


def write(options):
    """Reads the annotations, tells what is made of them, and writes the samples."""
    reader, left_out = options.reader(options), samples.LeftOut()
    classes = samples.Classes(reader, options.classes, options.present)
    made = samples.make_samples(
        reader.scenes(classes, left_out),
        classes,
        question_of(options),
        options.output.parent,
        left_out,
    )
    report(f"label: {rule_of(options)}")
    for line in left_out.lines():
        report(line)
    if not made:
        raise CaptureError("expected at least one sample, got none: all was left out, see above")
    counts = collections.Counter(sample["label"] for sample in made)
    for label, name in enumerate(classes.label_names()):
        report(f"label {label}: {name}, {counts[label]} samples")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(options.output, samples.encode(made))
    documents = len({sample["document"] for sample in made})
    report(f"wrote {options.output}: {len(made)} samples of {documents} documents")


def add_shared(parser):
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument(
        "--classes",
        type=class_names,
        metavar="A,B,..",
        help="the classes that count, in the order of their labels; give it where two files are to "
        "have the same labels (default: all, coco by id, virat without unknown, actev by name)",
    )
    parser.add_argument("--present", metavar="CLASS", help="label 1 where it is there, 0 elsewhere")
    parser.add_argument(
        "--text", metavar="QUESTION", help="text of every sample (default: asks for the label)"
    )


def add_least_area(parser):
    parser.add_argument(
        "--least-area",
        type=area,
        default=0.0,
        metavar="PIXELS",
        help="leave out what covers less of an image (default: nothing)",
    )


def add_spans(parser):
    parser.add_argument(
        "--frames",
        required=True,
        type=spans.frames_pattern,
        metavar="PATTERN",
        help="where the frames are, as frames/{clip}_{frame:06d}.jpg; {frame} is the number that "
        "the annotations use: from 0 in virat's (ffmpeg -start_number 0), from 1 in actev's",
    )
    parser.add_argument(
        "--span", type=positive, default=30, help="frames a sample (default: %(default)s)"
    )
    parser.add_argument(
        "--stride", type=positive, help="frames from one sample to the next (default: --span)"
    )


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="coco|virat|actev")

    command = commands.add_parser("coco", help="COCO instances JSON: a sample an image")
    command.add_argument("--input", required=True, metavar="FILE")
    command.add_argument("--images", required=True, type=pathlib.Path, metavar="DIR")
    add_least_area(command)
    add_shared(command)
    command.set_defaults(
        format=coco, reader=lambda o: coco.Coco(o.input, o.images, o.least_area)
    )

    command = commands.add_parser("virat", help="VIRAT object files: a sample a span of frames")
    command.add_argument("--input", required=True, nargs="+", metavar="FILE")
    add_spans(command)
    add_least_area(command)
    add_shared(command)
    command.set_defaults(
        format=virat,
        reader=lambda o: virat.Virat(o.input, o.frames, o.span, o.stride or o.span, o.least_area),
    )

    command = commands.add_parser("actev", help="ActEV activity JSON: a sample a span of frames")
    command.add_argument("--input", required=True, nargs="+", metavar="FILE")
    add_spans(command)
    add_shared(command)
    command.set_defaults(
        format=actev,
        reader=lambda o: actev.Actev(o.input, o.frames, o.span, o.stride or o.span),
    )
    return parser.parse_args(arguments)


def main(arguments=None):
    try:
        write(parse(arguments))
    except (CaptureError, OSError) as error:
        print(f"annotations: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
