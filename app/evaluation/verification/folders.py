"""A folder with one sub-folder a person."""

from __future__ import annotations

from pathlib import Path

from app.evaluation.photos import EvaluationError, Photo


def read_folder(images: Path) -> tuple[Photo, ...]:
    """The photos below each sub-folder of `images`, whose name is the person's; sorted, named by their path below
    `images`. Hidden files and folders are left out, and so are files that lie in no sub-folder.

    Raises EvaluationError where there are none, OSError for no such folder.
    """
    people = sorted(folder for folder in images.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    photos = tuple(
        Photo(file.relative_to(images).as_posix(), person.name, file)
        for person in people
        for file in sorted(person.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(person).parts)
    )
    if not photos:
        raise EvaluationError(f"{images} has no photos: expected a sub-folder for each person, with that one's photos")
    return photos
