"""Trails of made-up lines, and ways to damage them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.audit.mark import MARK
from app.audit.trail import Trail, files_of
from app.audit.verify import Verdict, verify

Damage = Callable[[list[bytes], int], list[bytes]]


def written(folder: Path, count: int, *, file_bytes: int = 2**20, first: int = 0) -> Trail:
    """A trail of `count` lines that say how many they are."""
    trail = Trail(folder, file_bytes)
    for number in range(first, first + count):
        trail.append([{"deed": "search", "number": number}], sync=False)
    return trail


def lines_of(folder: Path) -> list[bytes]:
    return b"".join(file.read_bytes() for file in files_of(folder)).splitlines(keepends=True)


def damaged(folder: Path, damage: Damage, place: int) -> Verdict:
    """What is said of the trail after `damage` to the line of that index; all its lines are then in one file."""
    lines = damage(lines_of(folder), place)
    first, *others = files_of(folder)
    first.write_bytes(b"".join(lines))
    for file in others:
        file.unlink()
    return verify(folder)


def edited(lines: list[bytes], place: int) -> list[bytes]:
    return replaced(lines, place, lines[place].replace(b'"search"', b'"erased"'))


def removed(lines: list[bytes], place: int) -> list[bytes]:
    return lines[:place] + lines[place + 1 :]


def doubled(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[: place + 1], *lines[place:]]


def moved_to_the_end(lines: list[bytes], place: int) -> list[bytes]:
    return [*removed(lines, place), lines[place]]


def unreadable(lines: list[bytes], place: int) -> list[bytes]:
    return replaced(lines, place, b"\xff" + lines[place][1:])


def cut(lines: list[bytes], place: int) -> list[bytes]:
    return lines[:place]


def replaced(lines: list[bytes], place: int, line: bytes) -> list[bytes]:
    return [*lines[:place], line, *lines[place + 1 :]]


def without_mark(folder: Path) -> None:
    (folder / MARK).unlink()
