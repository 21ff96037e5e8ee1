"""Collections carried from one gallery to another, whatever the two keep them in, and compared at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from app.differences import Side, differing
from gallery.exchange import Record
from gallery.gallery import Gallery
from gallery.names import check_collection
from gallery.types import Collection, CollectionExistsError, CollectionNotFoundError, ModelMismatchError, Terms

OnProgress = Callable[[str, int, int], None]
"""Hears what is being done ("copying", "reading the source", "reading the target"), and how many records of how many
are done; of a source that changes meanwhile there may be more in the end."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a collection holds: counts, and the digest of `gallery.exchange.Tally`, which does not know of order."""

    identities: int
    faces: int
    digest: str


@dataclass(frozen=True, slots=True)
class Migrated:
    """What `migrate` did: new identities and faces, and faces skipped because they were there already.

    `sent` is what went over; `source` and `target` are what the two held after that, each read anew. `differing` names
    some of those whom the two have not alike.
    """

    collection: str
    into: str
    identities: int
    faces: int
    skipped: int
    sent: Holding
    source: Holding
    target: Holding
    differing: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the two hold the same, to the bit."""
        return self.source == self.target

    def difference(self) -> str:
        """What differs and what to do about it, for people, where they do not hold the same."""
        source, target = _told(self.source), _told(self.target)
        if source == target:
            source, target = f"{source}, digest {self.source.digest}", f"{target}, digest {self.target.digest}"
        if self.target == self.sent:
            why = (
                "all that was sent arrived as it was, but the source changed meanwhile: migrate again to fetch the rest"
            )
        elif self.source == self.sent:
            why = (
                "the target has what the source has not, or has it otherwise: erase there what is wrong, or drop the "
                "collection there, and migrate again"
            )
        else:
            why = (
                "the source changed while it was read; migrate again when it is quiet, and if they differ still, drop "
                "the collection at the target and migrate again"
            )
        who = f" (among them {', '.join(self.differing)})" if self.differing else ""
        return f"{self.collection!r} and its copy {self.into!r} differ: {source} against {target}{who}; {why}"


def _told(held: Holding) -> str:
    return f"{held.identities} identities with {held.faces} faces"


def refuse_unfit(source: Gallery, target: Gallery, names: Sequence[str], into: str | None = None) -> None:
    """Raises before anything is written: CollectionNotFoundError for a name that the source does not have,
    ModelMismatchError and CollectionExistsError where the target has it of another embedder or on other terms."""
    for name in names:
        about = source.collection(name)
        try:
            there = target.collection(check_collection(into or name))
        except CollectionNotFoundError:
            continue
        _refuse_another(about, there)


def _refuse_another(about: Collection, there: Collection) -> None:
    if (about.embedder, about.dimension) != (there.embedder, there.dimension):
        raise ModelMismatchError(
            f"collection {there.name!r} of the target holds embeddings of model {there.embedder}, the source's are of "
            f"{about.embedder}: drop it there, or migrate into another (--into)",
            collection=there.name,
            made_by=there.embedder,
            asked=about.embedder,
        )
    if different := [
        f"{field.name} {getattr(there, field.name)}, not {getattr(about, field.name)}"
        for field in fields(Terms)
        if getattr(there, field.name) != getattr(about, field.name)
    ]:
        raise CollectionExistsError(
            f"collection {there.name!r} of the target is on other terms ({'; '.join(different)}): drop it there, or "
            "migrate into another (--into)"
        )


def migrate(
    source: Gallery, target: Gallery, name: str, *, into: str | None = None, on_progress: OnProgress
) -> Migrated:
    """Copies a collection record by record, its embedder and terms with it, then reads both and compares. No engine.

    May be run again after whatever ended it: what is there already is skipped. Constant memory. The source may be in
    use: what changes there meanwhile may be missing at the target. Raises what `refuse_unfit` does, before anything is
    written, and what `Gallery.import_records` does.
    """
    refuse_unfit(source, target, [name], into)
    about, place = source.collection(name), into or name
    of = about.identities + about.faces
    sent = _Watched(source.export(name), "copying", of, on_progress)
    done = target.import_records(sent, embedder=about.embedder, collection=place)
    here = holding(source, name, lambda read: on_progress("reading the source", read, of))
    there = holding(target, place, lambda read: on_progress("reading the target", read, of))
    return Migrated(
        collection=name,
        into=place,
        identities=done.identities,
        faces=done.faces,
        skipped=done.skipped,
        sent=sent.holding(),
        source=here,
        target=there,
        differing=() if here == there else differing(Side(source, name), Side(target, place)),
    )


def holding(gallery: Gallery, name: str, on_progress: Callable[[int], None] = lambda read: None) -> Holding:
    """What the collection holds now; reads all of it. `on_progress` hears how many records were read."""
    watched = _Watched(gallery.export(name), "", 0, lambda doing, read, of: on_progress(read))
    for _ in watched:
        pass
    return watched.holding()


class _Watched:
    """An export that tells how far it is, and at its end what it was of."""

    def __init__(self, records: Iterator[dict[str, Any]], doing: str, of: int, on_progress: OnProgress) -> None:
        self._records = records
        self._doing = doing
        self._of = of
        self._on_progress = on_progress
        self._last: Record = {}

    def __iter__(self) -> Iterator[Record]:
        for number, record in enumerate(self._records):  # the header is number 0
            self._last = record
            if record["type"] != "end":
                self._on_progress(self._doing, number, max(number, self._of))
            yield record

    def holding(self) -> Holding:
        return Holding(self._last["identities"], self._last["faces"], self._last["digest"])
