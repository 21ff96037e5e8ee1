"""Could a serial order have given these answers? An exact checker for what many did at once.

Each cell is written by one writer alone, one value after another; a reader reads all cells at one moment. Such a
history is atomic if and only if the five conditions of the Shrinking Lemma hold: J. H. Anderson, "Composite registers",
Distributed Computing 6 (1993).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

Value = str | None


@dataclass(frozen=True, slots=True)
class Write:
    """Makes `cell` say `value` (None: nobody is there). Times are of one clock for all, in ns."""

    cell: str
    value: Value
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Read:
    """What each cell of all said. `writer`: who asked, if it was one of the writers, about its own cells."""

    values: Mapping[str, Value]
    begin: int
    end: int
    writer: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A read, and for each cell which of its writes it saw (0: its beginning). A cell is missing where two of its
    writes could explain what was read: it said None, and somebody came and went meanwhile."""

    read: Read
    versions: dict[str, int]


class _Cell:
    """What was written to a cell, in order. Version 0 is None; version n is the n-th write."""

    def __init__(self) -> None:
        self.values: list[Value] = [None]
        self.begins: list[int] = []
        self.ends: list[int] = []

    def add(self, write: Write) -> None:
        self.values.append(write.value)
        self.begins.append(write.begin)
        self.ends.append(write.end)

    def possible(self, read: Read) -> range:
        """Not before a write that was over when the read began, not after one that began when it was over."""
        return range(bisect_right(self.ends, read.begin), bisect_left(self.begins, read.end) + 1)


def violations(writes: Sequence[Write], reads: Sequence[Read]) -> list[str]:
    """What no serial order could have given; [] for an atomic history.

    Every cell begins with None, its writes do not overlap, and its values other than None are unique in it.
    """
    cells: dict[str, _Cell] = {cell: _Cell() for read in reads for cell in read.values}
    for write in sorted(writes, key=lambda each: each.begin):
        cells.setdefault(write.cell, _Cell()).add(write)
    wrong: list[str] = []
    seen: list[Seen] = []
    for read in reads:
        versions: dict[str, int] = {}
        for cell, value in read.values.items():
            found = [each for each in cells[cell].possible(read) if cells[cell].values[each] == value]
            if len(found) == 1:
                versions[cell] = found[0]
            elif not found:
                wrong.append(_misplaced(cells[cell], read, cell))
        seen.append(Seen(read, versions))
    return [*wrong, *_out_of_order(seen), *_without_what_came_before(cells, seen)]


def _misplaced(cell: _Cell, read: Read, name: str) -> str:
    """Integrity, Proximity: the value was never written, or not then."""
    value, then = read.values[name], cell.possible(read)
    if value not in cell.values:
        return f"mislabelled: {name} said {value!r}, which was never written there"
    if cell.values.index(value) > then[-1]:
        return f"not yet written: {name} said {value!r}"
    whose = "its own write is missing" if read.writer is not None else "stale"
    return f"{whose}: {name} said {value!r}, not {' or '.join(repr(cell.values[each]) for each in then)}"


def _out_of_order(seen: Sequence[Seen]) -> Iterator[str]:
    """Read Precedence: all reads are in one order, in which none comes before one that was over when it began."""
    whole = [each for each in seen if len(each.versions) == len(each.read.values)]
    for one, other in _suspects(sorted(whole, key=_total)):
        older = [cell for cell, version in other.versions.items() if version < one.versions[cell]]
        newer = [cell for cell, version in other.versions.items() if version > one.versions[cell]]
        if older and newer:
            yield f"torn: of two reads one is newer in {newer[0]}, the other in {older[0]}"
        elif older:
            yield f"back in time: {older[0]} was {one.read.values[older[0]]!r} and then {other.read.values[older[0]]!r}"


def _total(seen: Seen) -> int:
    return sum(seen.versions.values())


def _suspects(by_total: Sequence[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """Neighbours: if each is newer in nothing than the next, all are in order. And each with the one that, though it
    saw less, began last, if it began after the end."""
    yield from pairwise(by_total)
    latest: Seen | None = None
    for _, group in groupby(by_total, key=_total):
        equals = list(group)
        if latest is not None:
            yield from ((each, latest) for each in equals if each.read.end < latest.read.begin)
        latest = max([*equals, *([latest] if latest else [])], key=lambda each: each.read.begin)


def _without_what_came_before(cells: Mapping[str, _Cell], seen: Sequence[Seen]) -> Iterator[str]:
    """Write Precedence: who saw a write saw all that were over when it began."""
    for each in seen:
        began = [(cells[cell].begins[version - 1], cell) for cell, version in each.versions.items() if version]
        newest, source = max(began, default=(0, ""))
        for cell, version in each.versions.items():
            if version < len(cells[cell].ends) and cells[cell].ends[version] < newest:
                yield f"torn: {source} was seen, but not {cells[cell].values[version + 1]!r} of {cell}, over before it"
