"""Which picture shows whom, by the names of files and folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NUMBERED: Final = re.compile(r"(.+?)_\d+")
TRAILING_DIGITS: Final = re.compile(r"(.*\D)\d+")


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and the identity that its name gives it."""

    path: Path
    identity: str


def find_pictures(paths: Iterable[Path], *, strip_digits: bool = False) -> list[Picture]:
    """The pictures of `paths`, files or folders, in the order given and by name within a folder.

    `alice.jpg`, `alice_0.jpg` and `alice_1.jpg` show alice; so does every file of a folder `alice` inside a given
    folder. `strip_digits` makes `qys0.jpg` qys. Hidden files are left out.
    """
    return [
        Picture(file, _identity(file, folder, strip_digits=strip_digits))
        for path in paths
        for file, folder in _files(path)
    ]


def _files(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each file, and the folder in which file names are identities."""
    if not path.is_dir():
        yield path, path.parent
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield file, path


def _identity(file: Path, folder: Path, *, strip_digits: bool) -> str:
    if file.parent != folder:
        return file.parent.name
    name = file.stem
    if numbered := NUMBERED.fullmatch(name):
        name = numbered[1]
    if strip_digits and (named := TRAILING_DIGITS.fullmatch(name)):
        name = named[1]
    return name
