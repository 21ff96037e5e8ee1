"""Verification: where the chain of the audit breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.audit.line import ORIGIN, Line, Link, parsed
from app.audit.mark import MARK, Mark, load_mark, locked
from app.audit.trail import files_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """`breaks` are signs of tampering (or of a disk that lost something); `notes` are what may be and shows.

    `first` and `last` are the ends of the chain that is there, None where there are no lines.
    """

    lines: int
    first: int | None
    last: Link | None
    breaks: Sequence[str]
    notes: Sequence[str]

    @property
    def whole(self) -> bool:
        return not self.breaks


def verify(folder: Path, known: Sequence[Link] = ()) -> Verdict:
    """Reads every line once, in constant memory. `known` are links that were written down elsewhere, which only
    an audit that was not changed before them can still have. Raises OSError.

    Writers wait only while the ends are looked up.
    """
    mark, sizes = _ends(folder)
    walk = _Walk(set(known))
    for path, size in sizes:
        for place, text in _lines(path, size):
            walk.see(path.name, place, text)
    walk.end(mark)
    return Verdict(walk.lines, walk.first, walk.last, walk.breaks, walk.notes)


class _Walk:
    """Along the chain, line by line."""

    def __init__(self, known: set[Link]) -> None:
        self._known = known
        self.lines = 0
        self.first: int | None = None
        self.last: Link | None = None
        self.breaks: list[str] = []
        self.notes: list[str] = []

    def see(self, file: str, row: int, text: bytes) -> None:
        line, place = parsed(text), f"{file}, line {row}"
        if line is None:
            self.notes.append(f"{place}: no line of the audit; the beginning of one, whose writer was killed?")
            return
        self.lines += 1
        if not line.intact:
            self.breaks.append(f"{place}: number {line.link.number} was edited")
        if self.last is None:
            self._begin(file, line)
        elif line.prev != self.last.digest or line.link.number != self.last.number + 1:
            self.breaks.append(f"{place}: {_how(self.last, line)}")
        self._known.discard(line.link)
        self.last = line.link

    def end(self, mark: Mark | None) -> None:
        last = self.last or ORIGIN
        if mark is None:
            self.notes.append("the mark is missing: lines cut off at the end would not be noticed")
        elif mark.link.number > last.number:
            self.breaks.append(
                f"numbers {last.number + 1} to {mark.link.number} are missing at the end: cut off, or not on the disk "
                "when the power failed"
            )
        elif mark.link.number == last.number and mark.link != last:
            self.breaks.append(f"number {last.number}, the last, is not the one that was written")
        for link in sorted(self._known, key=lambda each: each.number):
            self.breaks.append(f"number {link.number} is not here with the digest {link.digest}")

    def _begin(self, file: str, line: Line) -> None:
        self.first = line.link.number
        named = file.removesuffix(".ndjson")
        if named.isdecimal() and int(named) < self.first:  # old lines go by whole files
            self.breaks.append(
                f"{file} begins with number {self.first}: numbers {int(named)} to {self.first - 1} are missing"
            )
        elif self.first > 1:
            self.notes.append(f"begins with number {self.first}: older files were taken away")
        elif line.prev != ORIGIN.digest:
            self.breaks.append("number 1 claims to follow another line")


def _how(last: Link, line: Line) -> str:
    number = line.link.number
    if number > last.number + 1:
        return f"numbers {last.number + 1} to {number - 1} are missing"
    if number <= last.number:
        return f"number {number} stands behind number {last.number}: moved or doubled"
    return f"number {number} does not follow the number {last.number} that is here: that one was replaced"


def _ends(folder: Path) -> tuple[Mark | None, list[tuple[Path, int]]]:
    """The mark and the files with their bytes, all of one moment."""
    if not (folder / MARK).exists():  # a copy without it
        return None, [(path, path.stat().st_size) for path in files_of(folder)]
    with locked(folder, shared=True) as lock:
        return load_mark(lock), [(path, path.stat().st_size) for path in files_of(folder)]


def _lines(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for place, text in enumerate(file, start=1):
            size -= len(text)
            if size < 0:  # written since
                return
            yield place, text.removesuffix(b"\n")
