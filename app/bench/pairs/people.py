"""Who is on which photo: a table that somebody wrote by hand."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from app.bench.processes import BenchError

COLUMNS = ("photo", "least", "most", "who", "enroll")


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo with at least `least` and at most `most` faces, among them those of `who`; the one face of a photo to
    `enroll` is that person."""

    name: str
    data: bytes
    least: int
    most: int
    who: frozenset[str]
    enroll: bool


def read_people(table: Path, photos: Path) -> list[Photo]:
    """The rows of a CSV file with the columns photo, least, most, who (names with `;` between) and enroll (yes or
    nothing); the photos lie in the folder `photos`. Raises BenchError naming the line that makes no sense."""
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise BenchError(f"{table} has the columns {reader.fieldnames}, expected {','.join(COLUMNS)}")
        found = [_photo(row, photos, f"{table}, line {line}") for line, row in enumerate(reader, start=2)]
    known = {name for photo in found if photo.enroll for name in photo.who}
    strangers = {name for photo in found for name in photo.who} - known
    if strangers or not known:
        raise BenchError(f"{table}: nobody is enrolled as {', '.join(sorted(strangers)) or 'anyone'}")
    return found


def _photo(row: dict[str, str], photos: Path, where: str) -> Photo:
    try:
        least, most = int(row["least"]), int(row["most"])
        who = frozenset(name.strip() for name in row["who"].split(";") if name.strip())
        photo = Photo(row["photo"], (photos / row["photo"]).read_bytes(), least, most, who, row["enroll"] == "yes")
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise BenchError(f"{where}: {error}") from error
    if not len(who) <= most or not least <= most or (photo.enroll and (len(who), least, most) != (1, 1, 1)):
        raise BenchError(f"{where}: {least} to {most} faces of {sorted(who)} do not go together")
    return photo
