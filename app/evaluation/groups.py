"""What photos show, from a table of attributes: by photo or by person; columns of numbers are cut into quartiles."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from app.evaluation.photos import EvaluationError, Photo

MOST_DISTINCT = 10
"""A column of more distinct numbers than these is cut into quartiles."""
EXTENSION = re.compile(r"\.(bmp|jpe?g|png|webp)$", re.IGNORECASE)
Key = Literal["photo", "person"]
Groups = dict[str, dict[str, str]]
"""Attribute → name of a photo → the group it is in; a photo of which the table does not say is in none."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """A table of attributes: `rows` by what its column `key` names, each a cell an attribute, empty if not known."""

    file: Path
    key: Key
    names: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]

    def of(self, photos: Sequence[Photo]) -> Groups:
        """The group of each photo; numbers are cut at the quartiles of these very photos.

        Raises EvaluationError where the table says nothing of any of them.
        """
        found = [self._row(photo) for photo in photos]
        if photos and not any(found):
            raise EvaluationError(
                f"{self.file} says nothing of the {len(photos)} photos: its column `{self.key}` has names such as "
                f"{next(iter(self.rows), 'none')!r}, theirs are such as {_key(photos[0], self.key)!r}"
            )
        return {
            name: _labels(photos, [row[place] if row else "" for row in found]) for place, name in enumerate(self.names)
        }

    def _row(self, photo: Photo) -> tuple[str, ...] | None:
        key = _key(photo, self.key)
        if key is None or self.key == "person":
            return None if key is None else self.rows.get(key)
        return self.rows.get(key) or self.rows.get(EXTENSION.sub("", key))


def read_attributes(file: Path) -> Attributes:
    """A CSV file with the column `photo` (a photo's name, with or without its extension) or `person`; every other
    column is an attribute. Raises EvaluationError naming the line that makes no sense, OSError for no such file."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            key = _key_of(file, header)
            rows: dict[str, tuple[str, ...]] = {}
            for cells in reader:
                if cells:
                    _add(rows, cells, header, key, f"{file}, line {reader.line_num}")
        except csv.Error as error:
            raise EvaluationError(f"{file}, line {reader.line_num}: {error}; expected CSV") from None
        except UnicodeDecodeError as error:
            raise EvaluationError(f"{file}: {error}; expected CSV in UTF-8") from None
    if not rows:
        raise EvaluationError(f"{file} has no rows below its header")
    return Attributes(file, key, tuple(name for name in header if name != key), rows)


def _key_of(file: Path, header: list[str]) -> Key:
    keys: list[Key] = [key for key in ("photo", "person") if key in header]
    if len(keys) != 1 or len(set(header)) < max(2, len(header)) or not all(header):
        raise EvaluationError(
            f"{file}, line 1: the columns are {', '.join(header) or 'none'}; expected `photo` or `person`, one of the "
            "two, and at least one more, each with a name of its own"
        )
    return keys[0]


def _add(rows: dict[str, tuple[str, ...]], cells: list[str], header: list[str], key: Key, where: str) -> None:
    if len(cells) != len(header):
        raise EvaluationError(f"{where}: {len(cells)} cells, expected {len(header)}: {', '.join(header)}")
    cells = [cell.strip() for cell in cells]
    name = cells.pop(header.index(key))
    if not name:
        raise EvaluationError(f"{where}: the column `{key}` is empty")
    if name in rows:
        raise EvaluationError(f"{where}: {name!r} has a line already; expected one for each {key}")
    rows[name] = tuple(cells)


def _key(photo: Photo, key: Key) -> str | None:
    return photo.name if key == "photo" else photo.person


def _labels(photos: Sequence[Photo], cells: Sequence[str]) -> dict[str, str]:
    """The cells by the photos' names, or the quartile each lies in where they are many different numbers."""
    given = {photo.name: cell for photo, cell in zip(photos, cells, strict=True) if cell}
    numbers = {name: number for name, cell in given.items() if (number := _number(cell)) is not None}
    if len(numbers) < len(given) or len(set(numbers.values())) <= MOST_DISTINCT:
        return given
    values = np.array(list(numbers.values()))
    bounds = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    quartiles = [f"Q{place + 1}: {low:g} to {high:g}" for place, (low, high) in enumerate(pairwise(bounds))]
    return {name: quartiles[int(np.searchsorted(bounds[1:-1], number))] for name, number in numbers.items()}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
