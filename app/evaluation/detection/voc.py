"""PASCAL VOC's annotations: a folder with an XML file a photo.

Layout: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from app.evaluation.detection.annotations import Entry, Face
from app.evaluation.photos import EvaluationError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(folder: Path) -> list[Entry]:
    """A photo for each `*.xml`, called as its `filename` says; it lies under that name, or under the XML's own with
    another extension. Objects marked `difficult` are ignored faces.

    VOC counts pixels from 1 and includes both corners, so a box spans xmin − 1 to xmax. Raises EvaluationError naming
    the file, and the line or object, that makes no sense.
    """
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise EvaluationError(f"{folder} has no XML files; expected one a photo, as PASCAL VOC has them")
    return [_entry(file) for file in files]


def _entry(file: Path) -> Entry:
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise EvaluationError(f"{file}, line {error.position[0]}: {error}; expected XML") from None
    if root.tag != "annotation":
        raise EvaluationError(f"{file} is a <{root.tag}>, expected an <annotation> as PASCAL VOC has it")
    named = PurePosixPath((root.findtext("filename") or "").strip().replace("\\", "/")).name
    own = tuple(file.stem + extension for extension in EXTENSIONS)
    faces = [_face(each, f"{file}, object {number}") for number, each in enumerate(root.iter("object"), start=1)]
    return Entry(named or own[0], (named, *own) if named else own, faces)


def _face(element: ElementTree.Element, where: str) -> Face:
    given = [element.findtext(f"bndbox/{corner}") for corner in CORNERS]
    difficult = (element.findtext("difficult") or "0").strip()
    try:
        left, top, right, bottom = (float(value or "") for value in given)
    except ValueError:
        left = math.nan
    if difficult not in ("0", "1") or not math.isfinite(left):
        raise EvaluationError(f"{where}: bndbox {given}, difficult {difficult!r}; expected four numbers, and 0 or 1")
    face = Face((left - 1, top - 1, right, bottom), ignored=difficult == "1")
    if not face.has_area:
        raise EvaluationError(f"{where}: {dict(zip(CORNERS, given, strict=True))}; expected a box of at least a pixel")
    return face
