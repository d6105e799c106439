"""annotations.py: the samples it makes of COCO, VIRAT and ActEV annotations, and what it refuses.

Everything here is a miniature written for these tests. Image files are empty: neither pixels nor a
vision-language model are part of them (test_vision_language.py captures such samples with generated
images and tiny random models).

Needs the packages of scripts/tokenise.py: .deps/venv/bin/python -m unittest, or pytest.
"""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import annotations
from capture import inputs

COCO = """{
  "categories": [
    {"id": 7, "name": "cat"},
    {"id": 2, "name": "traffic light"},
    {"id": 9, "name": "dog"}
  ],
  "images": [
    {"id": 1, "file_name": "one.jpg"},
    {"id": 2, "file_name": "two.jpg"},
    {"id": 3, "file_name": "three.jpg"}
  ],
  "annotations": [
    {"image_id": 1, "category_id": 7, "area": 50},
    {"image_id": 1, "category_id": 9, "area": 80.5},
    {"image_id": 1, "category_id": 7, "area": 40},
    {"image_id": 2, "category_id": 9, "area": 10, "iscrowd": 0},
    {"image_id": 2, "category_id": 2, "area": 900, "iscrowd": 1}
  ]
}
"""

# Two cars and a person in frames 0 to 9; a bicycle joins in frame 4, something unknown in frame 8.
VIRAT = "".join(
    [f"1 10 {frame} 0 0 10 10 2 \n2 10 {frame} 50 5 10 5 2\n" for frame in range(10)]
    + [f"3 10 {frame} -4 9 10 12 1\n" for frame in range(10)]
    + [f"4 6 {frame} 7 7 20 20 5\n" for frame in range(4, 10)]
    + ["5 1 8 0 0 100 100 0\n"]
)

ACTEV = """{
  "filesProcessed": ["A.mp4", "B.mp4"],
  "activities": [
    {"activity": "Walking", "activityID": 1, "localization":
      {"A.mp4": {"1": 1, "13": 0}}},
    {"activity": "Talking", "activityID": 2, "localization":
      {"A.mp4": {"9": 0, "3": 1, "11": 1, "22": 0}, "B.mp4": {"1": 1, "11": 0}}},
    {"activity": "Entering", "activityID": 3, "localization": {"B.mp4": {"4": 1, "5": 0}}}
  ]
}
"""


class AnnotationsTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)
        (self.root / "images").mkdir()
        for name in ("one", "two", "three"):
            (self.root / "images" / f"{name}.jpg").touch()
        for clip in "AB":
            for frame in range(40):
                (self.root / "images" / f"{clip}_{frame:03d}.jpg").touch()
        self.output = self.root / "out" / "samples.jsonl"
        self.frames = ("--frames", f"{self.root}/images/{{clip}}_{{frame:03d}}.jpg")

    def write(self, name, text):
        (self.root / name).write_text(text)
        return str(self.root / name)

    def run_script(self, *arguments):
        """(exit status, what it said)."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            try:
                status = annotations.main([*arguments, "--output", str(self.output)])
            except SystemExit as stop:
                status = stop.code
        return status, errors.getvalue()

    def made(self, *arguments):
        """(samples, what was said)."""
        status, said = self.run_script(*arguments)
        self.assertEqual(status, 0, said)
        return [json.loads(line) for line in self.output.read_text().splitlines()], said

    def assert_refused(self, text, *arguments, status=1):
        got, said = self.run_script(*arguments)
        self.assertEqual(got, status, said)
        self.assertIn(text, said)
        self.assertFalse(self.output.parent.exists())

    def coco(self, *more, text=COCO):
        path = self.write("coco.json", text)
        return ("coco", "--input", path, "--images", str(self.root / "images"), *more)

    def virat(self, *more, text=VIRAT):
        path = self.write("A.viratdata.objects.txt", text)
        return ("virat", "--input", path, *self.frames, "--span", "4", *more)

    def actev(self, *more, text=ACTEV):
        path = self.write("actev.json", text)
        return ("actev", "--input", path, *self.frames, "--span", "10", *more)

    def brief(self, samples):
        return [(sample["label"], sample["label_name"], sample["classes"]) for sample in samples]


class CocoTest(AnnotationsTest):
    def test_an_image_becomes_a_sample(self):
        samples, _ = self.made(*self.coco())
        self.assertEqual(
            samples[0],
            {
                "image": "../images/one.jpg",
                "text": "Which kind of object takes up most of this picture?",
                "label": 1,
                "label_name": "cat",
                "classes": ["cat", "dog"],
                "document": "one.jpg",
                "source": {"file": "coco.json", "image_id": 1},
            },
        )

    def test_the_label_is_the_class_of_the_largest_total_area(self):
        samples, said = self.made(*self.coco())
        self.assertEqual(
            self.brief(samples),
            [(1, "cat", ["cat", "dog"]), (0, "traffic light", ["traffic light", "dog"])],
        )
        self.assertIn("label: the class whose annotations cover the largest area in all", said)
        self.assertIn("label 0: traffic light, 1 samples", said)
        self.assertIn("label 2: dog, 0 samples", said)
        self.assertIn("2 samples of 2 documents", said)

    def test_of_equal_areas_the_first_class_counts(self):
        equal = self.coco("--classes", "dog,cat", text=COCO.replace("80.5", "90"))
        self.assertEqual(self.brief(self.made(*equal)[0])[0], (0, "dog", ["dog", "cat"]))

    def test_images_without_annotations_have_no_label_but_lack_a_class(self):
        _, said = self.made(*self.coco())
        self.assertIn("left out: 1 samples without an annotation of these classes", said)
        samples, said = self.made(*self.coco("--present", "dog", "--least-area", "20"))
        self.assertEqual([sample["label"] for sample in samples], [1, 0, 0])
        self.assertEqual([sample["label_name"] for sample in samples], ["yes", "no", "no"])
        self.assertIn("label: whether dog is there", said)
        self.assertIn("left out: 1 annotations of less than 20 pixels (first: image 2)", said)

    def test_chosen_classes_number_the_labels(self):
        samples, said = self.made(*self.coco("--classes", "dog, traffic light"))
        self.assertEqual(
            self.brief(samples),
            [(0, "dog", ["dog"]), (1, "traffic light", ["dog", "traffic light"])],
        )
        self.assertIn("left out: 2 annotations of classes that were not chosen (first: cat)", said)

    def test_annotations_of_nothing_are_counted(self):
        text = COCO.replace('1, "category_id": 9', '1, "category_id": 5').replace(
            '"image_id": 2, "category_id": 9', '"image_id": 8, "category_id": 9'
        )
        samples, said = self.made(*self.coco(text=text))
        self.assertEqual(samples[0]["classes"], ["cat"])
        self.assertIn("1 annotations of a category that the file does not list (first: id 5)", said)
        self.assertIn("1 annotations of an image that the file does not list (first: id 8)", said)

    def test_missing_images_are_counted(self):
        (self.root / "images" / "two.jpg").unlink()
        samples, said = self.made(*self.coco())
        self.assertEqual([sample["document"] for sample in samples], ["one.jpg"])
        self.assertIn("left out: 1 samples whose image file does not exist (first: ", said)
        self.assertIn("two.jpg", said)

    def test_nothing_is_written_when_no_sample_is_left(self):
        for image in (self.root / "images").glob("*.jpg"):
            image.unlink()
        self.assert_refused("expected at least one sample, got none", *self.coco())

    def test_malformed_files_are_told_with_file_and_line(self):
        for old, new, text in (
            ('"area": 40', '"area": "40"', ":15:47: annotations[2].area: expected a finite number"),
            ('"area": 10', '"area": -1', ":16:47: annotations[3].area: expected a finite number"),
            (', "area": 900', "", ":17:5: annotations[4]: expected an object with 'area', which"),
            ('"image_id": 2, "c', '"image_id": "2", "c', ":16:18: annotations[3].image_id: expec"),
            ('"category_id": 2', '"category_id": null', ":17:36: annotations[4].category_id: expe"),
            ('"name": "dog"', '"name": "cat"', ":5:23: categories[2].name: expected a name of its"),
            ('"id": 9', '"id": 7', ":5:12: categories[2].id: expected an id of its own, got 7"),
            ('"id": 3', '"id": 1', ":10:12: images[2].id: expected an id of its own, got 1 again"),
            ("three.jpg", "one.jpg", ":10:28: images[2].file_name: expected a name of its own"),
            ('"images": [', '"image": [', "coco.json:1:1: expected an object with 'images', which"),
            ('"area": 50', '"area": 50, "area": 5', ":13:51: annotations[0]: expected every key"),
            ("]\n}", "]", "coco.json:19:1: not JSON"),
        ):
            changed = COCO.replace(old, new, 1)
            self.assertNotEqual(changed, COCO)
            self.assert_refused(text, *self.coco(text=changed))


class ViratTest(AnnotationsTest):
    def test_a_span_becomes_a_sample_with_its_middle_frame(self):
        samples, said = self.made(*self.virat())
        self.assertEqual(
            samples[1],
            {
                "image": "../images/A_006.jpg",
                "text": "Which kind of object takes up most of this picture?",
                "label": 4,
                "label_name": "bicycle",
                "classes": ["person", "car", "bicycle"],
                "document": "A",
                "source": {
                    "file": "A.viratdata.objects.txt",
                    "clip": "A",
                    "first_frame": 4,
                    "last_frame": 7,
                },
            },
        )
        self.assertEqual(self.brief(samples)[0], (1, "car", ["person", "car"]))
        self.assertIn("left out: 2 frames at the end of a clip, too few for a span", said)
        self.assertIn("left out: 1 boxes of classes that were not chosen (first: unknown)", said)
        self.assertIn("2 samples of 1 documents", said)

    def test_spans_may_overlap(self):
        samples, said = self.made(*self.virat("--stride", "3"))
        self.assertEqual([one["source"]["first_frame"] for one in samples], [0, 3, 6])
        self.assertNotIn("too few for a span", said)

    def test_unknown_objects_are_a_class_when_chosen(self):
        samples, _ = self.made(*self.virat("--stride", "6", "--classes", "car,unknown"))
        self.assertEqual(self.brief(samples)[1], (1, "unknown", ["car", "unknown"]))

    def test_presence_of_a_class(self):
        samples, _ = self.made(*self.virat("--present", "bicycle"))
        self.assertEqual([sample["label"] for sample in samples], [0, 1])

    def test_small_boxes_are_counted(self):
        samples, said = self.made(*self.virat("--least-area", "101"))
        self.assertEqual(self.brief(samples)[0], (0, "person", ["person"]))
        self.assertIn("left out: 20 boxes of less than 101 pixels (first: ", said)
        self.assertIn("A.viratdata.objects.txt:1)", said)

    def test_a_second_box_of_an_object_in_a_frame_is_counted(self):
        samples, said = self.made(*self.virat(text=VIRAT + "3 10 2 0 0 1000 1000 1\n"))
        self.assertEqual(samples[0]["label_name"], "car")
        self.assertIn("left out: 1 boxes of an object that has one in that frame (first: ", said)
        self.assertIn("A.viratdata.objects.txt:38)", said)

    def test_several_clips_are_several_documents(self):
        other = self.write("B.viratdata.objects.txt", VIRAT)
        empty = self.write("C.viratdata.objects.txt", "\n")
        arguments = list(self.virat())
        arguments[3:3] = [other, empty]
        samples, said = self.made(*arguments)
        self.assertEqual([sample["document"] for sample in samples], ["A", "A", "B", "B"])
        self.assertIn("left out: 1 clips without annotations (first: C)", said)
        arguments[arguments.index("--frames") + 1] = "{frame}.jpg"
        self.output = self.root / "none" / "samples.jsonl"
        self.assert_refused("expected {clip} in it, as there are 3 clips", *arguments)

    def test_one_clip_in_two_files_is_refused(self):
        arguments = list(self.virat())
        arguments[3:3] = [arguments[2]]
        self.assert_refused("clip A is also in A.viratdata.objects.txt", *arguments)

    def test_malformed_rows_are_told_with_file_and_line(self):
        for row, text in (
            ("1 2 3 4 5 6 7", "expected 8 whole numbers (object id, duration, frame, left, top"),
            ("1 2 3 4 5 6 7 1 9", "width, height, type), got '1 2 3 4 5 6 7 1 9'"),
            ("1 2 3 4 5 6.5 7 1", "got '1 2 3 4 5 6.5 7 1'; correct it or take it out"),
            ("1 2 3 4 5 6_5 7 1", "got '1 2 3 4 5 6_5 7 1'"),
            ("1 2 -3 4 5 6 7 1", "frame: expected a number from 0, got -3"),
            ("1 2 10000000 4 5 6 7 1", "frame: expected a number below 10000000, got 10000000"),
            ("1 2 3 4 5 -6 7 1", "width: expected a number from 0, got -6"),
            ("1 2 3 4 5 6 -7 1", "height: expected a number from 0, got -7"),
            ("1 2 3 4 5 6 7 6", "type: expected 0 to 5, got 6"),
            ("1 2 3 4 5 6 7 -1", "type: expected 0 to 5, got -1"),
        ):
            arguments = self.virat(text=f"1 2 3 4 5 6 7 1\n\n{row}\n")
            self.assert_refused("A.viratdata.objects.txt:3: ", *arguments)
            self.assert_refused(text, *arguments)

    def test_a_name_that_names_no_clip_is_refused(self):
        for name in ("A.txt", ".viratdata.objects.txt"):
            path = self.write(name, VIRAT)
            self.assert_refused(
                "expected a name like CLIP.viratdata.objects.txt",
                "virat", "--input", path, *self.frames,
            )  # fmt: skip


class ActevTest(AnnotationsTest):
    def test_a_span_becomes_a_sample_with_its_middle_frame(self):
        samples, said = self.made(*self.actev())
        self.assertEqual(
            samples[0],
            {
                "image": "../images/A_006.jpg",
                "text": "What is going on in this picture?",
                "label": 2,
                "label_name": "Walking",
                "classes": ["Talking", "Walking"],
                "document": "A",
                "source": {"file": "actev.json", "clip": "A", "first_frame": 1, "last_frame": 10},
            },
        )
        self.assertEqual(
            self.brief(samples)[1:],
            [(1, "Talking", ["Talking", "Walking"]), (1, "Talking", ["Entering", "Talking"])],
        )
        self.assertEqual([sample["document"] for sample in samples], ["A", "A", "B"])
        self.assertIn("left out: 1 frames at the end of a clip, too few for a span (fi", said)
        self.assertIn("label: the activity that goes on in most frames of the span", said)

    def test_chosen_activities_number_the_labels(self):
        samples, said = self.made(*self.actev("--classes", "Walking,Entering"))
        names = [sample["label_name"] for sample in samples]
        self.assertEqual(names, ["Walking", "Walking", "Entering"])
        self.assertIn("left out: 3 activities that were not chosen (first: Talking)", said)

    def test_presence_of_an_activity(self):
        samples, _ = self.made(*self.actev("--present", "Entering", "--span", "3"))
        where = [(one["document"], one["source"]["first_frame"]) for one in samples if one["label"]]
        self.assertEqual(where, [("B", 4)])

    def test_the_frames_of_an_activity_end_before_its_0(self):
        samples, _ = self.made(*self.actev("--present", "Walking", "--span", "1"))
        frames = [one["source"]["first_frame"] for one in samples if one["label"]]
        self.assertEqual(frames, list(range(1, 13)))

    def test_malformed_files_are_told_with_file_and_line(self):
        for old, new, text in (
            ('"13": 0', '"13": 2', ":5:32: activities[0].localization.A.mp4.13: expected 0 or 1"),
            ('"13": 0', '"13": 1', "mp4.13: expected 1 and 0 in turn by frame, first 1, got 1"),
            ('"3": 1, ', "", ":7:23: activities[1].localization.A.mp4.9: expected 1 and 0 in turn"),
            (', "13": 0', "", ":5:23: activities[0].localization.A.mp4.1: expected a later frame"),
            ('"13": 0', '"x": 0', ":5:31: activities[0].localization.A.mp4.x: expected a frame nu"),
            ('"13": 0', '"013": 0', "A.mp4.013: expected a frame number below 10000000, got '013'"),
            ('"13": 0', '"10000000": 0', "expected a frame number below 10000000, got '10000000'"),
            ('"13": 0', '"1": 0', ":5:26: activities[0].localization.A.mp4: expected every key on"),
            ('{"A.mp4": {"1"', '{"C.mp4": {"1"', "C.mp4: expected a file of filesProcessed, got"),
            ('"Walking"', "3", ":4:18: activities[0].activity: expected a text, got 3"),
            ('"B.mp4"]', '"A.avi"]', ":2:31: filesProcessed[1]: expected every clip once, got A"),
            ('"filesP', '"p', "actev.json:1:1: expected an object with 'filesProcessed', which is"),
        ):
            changed = ACTEV.replace(old, new, 1)
            self.assertNotEqual(changed, ACTEV)
            self.assert_refused(text, *self.actev(text=changed))


class SharedTest(AnnotationsTest):
    def test_the_same_annotations_make_the_same_bytes(self):
        for arguments in (self.coco(), self.virat(), self.actev()):
            self.made(*arguments)
            first = self.output.read_bytes()
            self.made(*arguments)
            self.assertEqual(self.output.read_bytes(), first)
        self.assertEqual([path.name for path in self.output.parent.iterdir()], ["samples.jsonl"])

    def test_the_text_is_the_same_for_all_and_names_no_class(self):
        for arguments in (self.coco(), self.virat(), self.actev()):
            samples, _ = self.made(*arguments)
            (text,) = {sample["text"] for sample in samples}
            for sample in samples:
                for name in sample["classes"]:
                    self.assertNotIn(name.lower(), text.lower())

    def test_the_text_can_be_chosen_and_asks_for_a_class_alike(self):
        samples, _ = self.made(*self.coco("--text", "What is it?"))
        self.assertEqual({sample["text"] for sample in samples}, {"What is it?"})
        samples, _ = self.made(*self.coco("--present", "dog"))
        self.assertEqual(
            {sample["text"] for sample in samples},
            {"Is this in the picture: dog? Answer yes or no."},
        )

    def test_capture_reads_the_samples(self):
        self.made(*self.actev())
        documents = inputs.read_documents(self.output, "image-text", "label")
        self.assertEqual([one["name"] for one in documents], ["A", "B"])
        self.assertEqual([one["label"] for one in documents[0]["items"]], [2, 1])

    def test_images_are_found_from_a_linked_folder(self):
        (self.root / "deep" / "down").mkdir(parents=True)
        (self.root / "out").symlink_to(self.root / "deep" / "down")
        self.made(*self.coco())
        self.assertEqual(len(inputs.read_documents(self.output, "image-text")), 2)

    def test_wrong_classes_are_refused(self):
        for options, text in (
            (("--classes", "cat,cow"), "of the annotations (traffic light, cat, dog), got 'cow'"),
            (("--classes", "cat,cat"), "--classes cat,cat: expected every class once"),
            (("--present", "cow"), "expected one of the classes (traffic light, cat, dog), got 'c"),
            (("--present", ""), "expected one of the classes (traffic light, cat, dog), got ''"),
            (("--classes", "cat", "--present", "dog"), "expected one of the classes (cat), got 'd"),
        ):
            self.assert_refused(text, *self.coco(*options))

    def test_wrong_usage_exits_2(self):
        for arguments in (
            self.coco("--least-area", "-1"),
            self.coco("--least-area", "nan"),
            self.virat("--span", "0"),
            self.virat("--frames", "frames/{clip}.jpg"),
            self.virat("--frames", "frames/{frame}_{other}.jpg"),
            self.virat("--frames", "frames/{frame:q}.jpg"),
            self.virat("--frames", "frames/{frame.real}.jpg"),
            self.virat("--frames", "frames/{frame.none}.jpg"),
            self.virat("--frames", "frames/{frame"),
            self.virat("--frames", "frames/{}.jpg"),
        ):
            self.assert_refused("expected", *arguments, status=2)

    def test_what_is_not_utf8_is_told_with_its_line(self):
        for arguments in (self.coco(), self.virat(), self.actev()):
            (self.root / arguments[2]).write_bytes(b"1\n2\n\xff")
            self.assert_refused("expected UTF-8 text, got byte 0xff at offset 4, line 3", *arguments)

    def test_a_missing_file_is_named(self):
        for arguments in (self.coco(), self.virat(), self.actev()):
            (self.root / arguments[2]).unlink()
            self.assert_refused("no such file or folder", *arguments)


if __name__ == "__main__":
    unittest.main()
