"""WIDER FACE's annotations: one text file, photos one after the other, a line a face.

Layout: https://shuoyang1213.me/WIDERFACE/, readme.txt of wider_face_split.
"""

from __future__ import annotations

import math
from pathlib import Path

from app.evaluation.detection.annotations import Entry, Face
from app.evaluation.photos import EvaluationError

FIELDS = ("x", "y", "width", "height", "blur", "expression", "illumination", "invalid", "occlusion", "pose")
INVALID = FIELDS.index("invalid")
PLACEHOLDER = [0.0] * len(FIELDS)
"""The line that stands for a face where a photo has none."""


def read(file: Path) -> list[Entry]:
    """The photos in their order: a line with the path, one with the number of faces, then x y width height and six
    labels a face, of which the last six may be missing. Faces labelled invalid, or without area, are ignored ones.

    Raises EvaluationError naming the line that makes no sense.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{file} is no text in UTF-8 ({error}); expected WIDER FACE's list") from None
    while lines and not lines[-1].strip():
        lines.pop()
    entries, place = [], 0
    while place < len(lines):
        entry, place = _entry(lines, place, file)
        entries.append(entry)
    return entries


def _entry(lines: list[str], place: int, file: Path) -> tuple[Entry, int]:
    """The photo that begins at that line, and the place of the next one."""
    name = lines[place].strip()
    if not name or _numbers(name) is not None:
        raise EvaluationError(f"{file}, line {place + 1}: {name!r}, expected the path of a photo")
    given = lines[place + 1].strip() if place + 1 < len(lines) else "the end"
    if not given.isdecimal():
        raise EvaluationError(f"{file}, line {place + 2}: {given!r}, expected how many faces {name} shows")
    begin, count = place + 2, int(given)
    entry = Entry(name, (name,), [_face(lines, row, file) for row in range(begin, begin + count)])
    end = begin + count
    if not count and end < len(lines) and _numbers(lines[end]) == PLACEHOLDER:
        end += 1
    return entry, end


def _face(lines: list[str], row: int, file: Path) -> Face:
    values = _numbers(lines[row]) if row < len(lines) else None
    if values is None or len(values) not in (4, len(FIELDS)):
        given = repr(lines[row]) if row < len(lines) else "the end"
        raise EvaluationError(f"{file}, line {row + 1}: {given}, expected {' '.join(FIELDS)} of a face")
    left, top, width, height = values[:4]
    face = Face((left, top, left + width, top + height))
    invalid = len(values) > INVALID and values[INVALID] != 0
    return Face(face.box, ignored=invalid or not face.has_area)


def _numbers(line: str) -> list[float] | None:
    """The line's numbers, or None if there is anything else in it."""
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
