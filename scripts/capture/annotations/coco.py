"""COCO instances JSON -> one scene an image; a class weighs the area of its annotations in pixels.

Crowd regions count like objects: they say what is in the image, and how much of it they cover.
Categories are classes in the order of their ids. Annotations of an image or a category that the
file does not list, as subsets have them, are left out and counted.
"""

import pathlib

from .located_json import JsonFile
from .samples import Scene

RULE = "the class whose annotations cover the largest area in all"
QUESTION = "Which kind of object takes up most of this picture?"


def _by_id(node, names_key):
    """{id: name} of a list of objects; both must be unique."""
    found, seen = {}, set()
    for element in node.elements():
        identity, name = element.member("id"), element.member(names_key)
        if identity.whole() in found:
            raise identity.fault(f"expected an id of its own, got {identity.value} again")
        if name.text() in seen:
            raise name.fault(f"expected a name of its own, got {name.value!r} again")
        found[identity.value] = name.value
        seen.add(name.value)
    return found


class Coco:
    def __init__(self, path, images, least_area):
        self._path, self._images, self._least_area = pathlib.Path(path), images, least_area
        root = JsonFile(self._path).root
        categories = _by_id(root.member("categories"), "name")
        self._categories = dict(sorted(categories.items()))
        self._files = _by_id(root.member("images"), "file_name")
        self._annotations = root.member("annotations")

    def known_classes(self):
        return list(self._categories.values())

    def usual_classes(self):
        return self.known_classes()

    def scenes(self, classes, left_out):
        weights = {identity: {} for identity in self._files}
        for annotation in self._annotations.elements():
            self._add(annotation, weights, classes, left_out)
        for identity, name in self._files.items():
            yield Scene(
                self._images / name,
                weights[identity],
                name,
                {"file": self._path.name, "image_id": identity},
            )

    def _add(self, annotation, weights, classes, left_out):
        image = annotation.member("image_id").whole()
        category = annotation.member("category_id").whole()
        area = annotation.member("area").size()
        name = self._categories.get(category)
        if image not in weights:
            left_out.add("annotations of an image that the file does not list", f"id {image}")
        elif name is None:
            left_out.add("annotations of a category that the file does not list", f"id {category}")
        elif name not in classes.names:
            left_out.add("annotations of classes that were not chosen", name)
        elif area < self._least_area:
            left_out.add(f"annotations of less than {self._least_area:g} pixels", f"image {image}")
        else:
            here = weights[image]
            here[name] = here.get(name, 0) + area
