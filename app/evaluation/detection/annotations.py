"""Which faces photos show, by annotations in any of three formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.evaluation.photos import EvaluationError, Photo
from engines.geometry.overlap import Boxes


@dataclass(frozen=True, slots=True)
class Face:
    """One annotated face: x1 y1 x2 y2 in px, edges of pixels (the first one spans 0..1). An `ignored` one counts
    neither as missed nor makes a detection false."""

    box: tuple[float, float, float, float]
    ignored: bool = False

    @property
    def has_area(self) -> bool:
        left, top, right, bottom = self.box
        return right > left and bottom > top


@dataclass(slots=True)
class Entry:
    """What a reader found of one photo: its name, the files below the folder of images that it may lie in, and its
    faces."""

    name: str
    places: tuple[str, ...]
    faces: list[Face] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """A photo and its n faces: `boxes` (n, 4) float32 x1 y1 x2 y2 in px and which of them are `ignored` (n,)."""

    photo: Photo
    boxes: Boxes
    ignored: NDArray[np.bool_]


def read_annotations(path: Path, images: Path, *, only: str = "*", first: int | None = None) -> tuple[Annotated, ...]:
    """The photos that `path` annotates and their faces, sorted by name (as text: `a10` before `a2`).

    A folder is taken for PASCAL VOC's XML, `.json` for COCO's, any other file for WIDER FACE's list. Every annotation
    counts as a face, whatever it is called. Photos lie below `images`; `only` is a pattern (`*`, `?`) that a name must
    match, `first` how many of those are taken. Raises EvaluationError naming what makes no sense and where, and for
    photos that are not there.
    """
    entries = sorted(_reader(path)(path), key=lambda entry: entry.name)
    for one, other in pairwise(entries):
        if one.name == other.name:
            raise EvaluationError(f"{path}: {one.name} is annotated twice; expected every photo once")
    chosen = [entry for entry in entries if fnmatchcase(entry.name, only)][:first]
    if not chosen:
        raise EvaluationError(f"{path} annotates {len(entries)} photos, none of them called {only}")
    return _located(chosen, path, images)


def _reader(path: Path) -> Callable[[Path], list[Entry]]:
    from app.evaluation.detection import coco, voc, wider_list

    if path.is_dir():
        return voc.read
    return coco.read if path.suffix.lower() == ".json" else wider_list.read


def _located(entries: Sequence[Entry], path: Path, images: Path) -> tuple[Annotated, ...]:
    found, missing = [], []
    for entry in entries:
        file = next((images / place for place in entry.places if (images / place).is_file()), None)
        if file is None:
            missing.append(entry.name)
        else:
            found.append(_annotated(entry, file))
    if missing:
        raise EvaluationError(
            f"{len(missing)} of the {len(entries)} photos that {path} annotates are not in {images}, the first is "
            f"{missing[0]}; choose those that are with --only or --first"
        )
    return tuple(found)


def _annotated(entry: Entry, file: Path) -> Annotated:
    boxes = np.array([face.box for face in entry.faces], np.float32).reshape(-1, 4)
    ignored = np.array([face.ignored for face in entry.faces], np.bool_)
    return Annotated(Photo(entry.name, None, file), boxes, ignored)
