"""Labeled Faces in the Wild's files of pairs and of people (Huang, Ramesh, Berg & Learned-Miller, 2007).

Photo n of a person lies at `<images>/<name>/<name>_<n, four digits>.<ending>`, whatever the ending.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.verification.pairs import Pairs

PICTURES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
Shot = tuple[str, int]
"""A person's name, and the number of the photo."""


def read_pairs(file: Path, images: Path) -> Pairs:
    """The pairs of pairs.txt (view 2: its first line is `folds` and `n`, then n genuine and n impostor pairs a fold) or
    of pairsDevTrain.txt and pairsDevTest.txt (view 1: `n`, one fold). Lines are `name i j` or `name i other j`.

    Photos are named by their path below `images`. Raises EvaluationError naming the line that makes no sense, or how
    many photos are missing and the first of them; OSError for no such file.
    """
    lines = _Lines.of(file)
    header = lines.numbers((1, 2), "the number of folds and of pairs of each kind in a fold, or the latter alone")
    folds, count = header if len(header) == 2 else (1, header[0])
    shots: list[tuple[Shot, Shot]] = []
    for _ in range(folds):
        shots += [lines.genuine() for _ in range(count)]
        shots += [lines.impostor() for _ in range(count)]
    lines.end()
    photos = _found(sorted({shot for pair in shots for shot in pair}), images, file)
    place = {shot: index for index, shot in enumerate(photos)}
    left, right = ([place[pair[side]] for pair in shots] for side in (0, 1))
    return Pairs(
        photos=tuple(photos.values()),
        left=np.array(left, np.intp),
        right=np.array(right, np.intp),
        same=np.tile(np.repeat([True, False], count), folds),
        fold=np.repeat(np.arange(folds, dtype=np.intp), 2 * count),
    )


def read_people(file: Path, images: Path) -> tuple[Photo, ...]:
    """All photos of the people of people.txt (its first line is the number of folds, each of which starts with its
    number n of people), peopleDevTrain.txt or peopleDevTest.txt (n, one fold); n lines `name count` follow.

    Raises as `read_pairs` does.
    """
    lines = _Lines.of(file)
    first = lines.numbers((1,), "the number of folds, or of people")[0]
    counts: Iterable[int] = [first]
    if len(lines.peek()) == 1:
        counts = (lines.numbers((1,), "the number of people in a fold")[0] for _ in range(first))
    people = [lines.person() for count in counts for _ in range(count)]
    lines.end()
    shots = sorted({(name, number) for name, count in people for number in range(1, count + 1)})
    return tuple(_found(shots, images, file).values())


@dataclass(slots=True)
class _Lines:
    """The lines of a file that are not empty, cut into words, and where the reader is."""

    file: Path
    lines: list[tuple[int, list[str]]] = field(repr=False)
    position: int = 0

    @staticmethod
    def of(file: Path) -> _Lines:
        try:
            text = file.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise EvaluationError(f"{file} is no text in UTF-8: {error}") from error
        cut = [(n, line.split("\t") if "\t" in line else line.split()) for n, line in enumerate(text.splitlines(), 1)]
        return _Lines(file, [(n, [word.strip() for word in words]) for n, words in cut if any(words)])

    def peek(self) -> list[str]:
        return self.lines[self.position][1] if self.position < len(self.lines) else []

    def take(self, expected: str) -> list[str]:
        words = self.peek()
        if not words:
            raise EvaluationError(f"{self.file} ends where {expected} was expected")
        self.position += 1
        return words

    def numbers(self, counts: tuple[int, ...], expected: str) -> list[int]:
        words = self.take(expected)
        if len(words) not in counts or not all(_is_number(word) for word in words):
            raise self.fault(expected)
        return [int(word) for word in words]

    def genuine(self) -> tuple[Shot, Shot]:
        match self.take(expected := "a genuine pair `name i j`"):
            case [name, i, j] if _is_number(i, j):
                return self.shot(name, i), self.shot(name, j)
        raise self.fault(expected)

    def impostor(self) -> tuple[Shot, Shot]:
        match self.take(expected := "an impostor pair `name i other j`"):
            case [name, i, other, j] if _is_number(i, j) and name != other:
                return self.shot(name, i), self.shot(other, j)
        raise self.fault(expected)

    def person(self) -> tuple[str, int]:
        match self.take(expected := "a person and the number of photos, `name count`"):
            case [name, count] if _is_number(count):
                return self.shot(name, count)
        raise self.fault(expected)

    def shot(self, name: str, number: str) -> Shot:
        if not name.strip(".") or "/" in name or "\\" in name:
            raise self.fault("a name that can be a folder's")
        return name, int(number)

    def end(self) -> None:
        if self.take_rest():
            raise self.fault("the end, after as many lines as its numbers say,")

    def take_rest(self) -> bool:
        self.position += 1
        return self.position <= len(self.lines)

    def fault(self, expected: str) -> EvaluationError:
        """About the line taken last."""
        number, words = self.lines[self.position - 1]
        return EvaluationError(f"{self.file}, line {number}: expected {expected}; it says {' '.join(words)[:80]!r}")


def _is_number(*words: str) -> bool:
    return all(word.isascii() and word.isdigit() and int(word[:9]) > 0 and len(word) <= 9 for word in words)


def _found(shots: Iterable[Shot], images: Path, file: Path) -> dict[Shot, Photo]:
    """The photos, in the order of `shots`."""
    if not images.is_dir():
        raise EvaluationError(f"{images} is no folder: the photos of {file.name} were expected there")
    photos: dict[Shot, Photo] = {}
    missing: list[str] = []
    folders: dict[str, dict[str, Path]] = {}
    for name, number in shots:
        if name not in folders:
            folders[name] = _pictures(images / name)
        stem = f"{name}_{number:04d}"
        path = folders[name].get(stem)
        if path is None:
            missing.append(f"{name}/{stem}.jpg")
        else:
            photos[name, number] = Photo(f"{name}/{path.name}", name, path)
    if missing:
        raise EvaluationError(
            f"{len(missing)} of {len(missing) + len(photos)} photos of {file.name} are not in {images}: "
            f"the first is {missing[0]} (or .png and the like)"
        )
    return photos


def _pictures(folder: Path) -> dict[str, Path]:
    """The folder's pictures by their names without the ending; none if there is no such folder."""
    try:
        files = sorted(folder.iterdir(), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {path.stem: path for path in files if path.suffix.lower() in PICTURES}
