"""Who differs between two collections that should hold the same: told by name, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gallery.exchange import Tally
from gallery.gallery import Gallery

_BUCKETS = 1 << 14
_MOST_BUCKETS = 16


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a collection in a gallery."""

    gallery: Gallery
    collection: str


@dataclass(frozen=True, slots=True)
class _Person:
    id: str
    name: str
    digest: str

    @property
    def bucket(self) -> int:
        return int(self.id, 16) % _BUCKETS


def differing(source: Side, target: Side, most: int = 5) -> tuple[str, ...]:
    """Names of at most `most` identities that one side lacks or has otherwise, () where there is none. Reads each side
    twice.

    The first reading finds in which buckets of ids the two sides' sums differ, the second looks at some of those only.
    """
    sums = [0] * _BUCKETS
    for sign, side in ((1, source), (-1, target)):
        for person in _people(side):
            sums[person.bucket] += sign * int(person.digest, 16)
    wrong = {bucket for bucket, total in enumerate(sums) if total}
    chosen = set(sorted(wrong)[:_MOST_BUCKETS])
    if not chosen:
        return ()
    ours, theirs = (
        {person.id: person for person in _people(side) if person.bucket in chosen} for side in (source, target)
    )
    found = [ours.get(id_) or theirs[id_] for id_ in ours.keys() | theirs.keys() if ours.get(id_) != theirs.get(id_)]
    return tuple(sorted(person.name for person in found)[:most])


def _people(side: Side) -> Iterator[_Person]:
    """Everyone in the collection, with the digest of what is kept of them."""
    last, tally = None, Tally()
    for record in side.gallery.export(side.collection):
        if record["type"] == "identity":
            if last:
                yield _Person(last["id"], last["identity"], tally.digest)
            last, tally = record, Tally()
        if record["type"] in ("identity", "face"):
            tally.add(record)
    if last:
        yield _Person(last["id"], last["identity"], tally.digest)
