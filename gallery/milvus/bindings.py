"""What a collection is bound to, kept in Milvus itself, so that any number of services agree on it.

A collection `name` is three of Milvus's: `faceserve_c_NAME`, which is empty, and whose description says all that
follows; and `faceserve_f_GENERATION` and `faceserve_r_GENERATION`, which hold its faces and all else. The generation
is drawn when the collection is made. Milvus makes the first of two collections of one name, so that of two services
that make one at once exactly one does; and who still works on a collection that was deleted and made again meets a
name that is gone.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any, TypeVar

from gallery.milvus import schema
from gallery.milvus.connection import AwayError, Connection, GoneError
from gallery.names import check_collection
from gallery.types import (
    CollectionExistsError,
    CollectionNotFoundError,
    ModelMismatchError,
    NotOfferedError,
    StorageError,
    Terms,
)

FORMAT = 1
PREFIX = "faceserve_"
_ESCAPED = {"_": "__", ".": "_d", "-": "_h"}
_PLAIN = {escape: character for character, escape in _ESCAPED.items()}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bound:
    """A collection as it was made; nothing of it ever changes."""

    name: str
    embedder: str
    dimension: int
    created_at: str
    generation: str
    index: str
    ttl_s: float | None = None

    @property
    def faces(self) -> str:
        return f"{PREFIX}f_{self.generation}"

    @property
    def records(self) -> str:
        return f"{PREFIX}r_{self.generation}"

    def digest(self, purpose: str, *parts: str) -> str:
        """32 hexadecimal digits, of this collection alone: nobody can tell names from them who does not know it."""
        text = "\n".join((purpose, *parts))
        return blake2b(text.encode(), digest_size=16, key=bytes.fromhex(self.generation)).hexdigest()

    def made_by(self, embedder: str) -> Bound:
        """Itself; raises ModelMismatchError for another embedder's digest."""
        if embedder != self.embedder:
            raise ModelMismatchError(
                f"collection {self.name!r} holds embeddings of model {self.embedder}, not of {embedder}: use that "
                "model, or another collection",
                collection=self.name,
                made_by=self.embedder,
                asked=embedder,
            )
        return self


class Bindings:
    """The collections of a Milvus database, remembered once seen. Any thread may use it."""

    def __init__(self, connection: Connection, index: str) -> None:
        self._connection = connection
        self._index = index
        self._seen: dict[str, Bound] = {}

    def on(self, name: str, work: Callable[[Bound], T], *, embedder: str | None = None) -> T:
        """What `work` gives, which may be called twice, and must be able to: what was remembered of the collection may
        have become untrue. Raises CollectionNotFoundError, ModelMismatchError."""
        check_collection(name)
        with self._connection.working():
            return self._on(name, work, embedder)

    def _on(self, name: str, work: Callable[[Bound], T], embedder: str | None) -> T:
        remembered = self._seen.get(name)
        if remembered is not None:
            try:
                return work(remembered.made_by(embedder or remembered.embedder))
            except (GoneError, ModelMismatchError):
                self._seen.pop(name, None)
        bound = self.read(name)
        try:
            return work(bound.made_by(embedder or bound.embedder))
        except GoneError:
            self._seen.pop(name, None)
            raise _missing(name) from None

    def read(self, name: str) -> Bound:
        """As Milvus has it now; raises CollectionNotFoundError."""
        try:
            bound = _bound(self._connection.describe(_claim(check_collection(name))))
        except GoneError:
            self._seen.pop(name, None)
            raise _missing(name) from None
        self._seen[name] = bound
        return bound

    def all(self) -> list[Bound]:
        """In name order; one that is half deleted is not among them."""
        names = set(self._connection.names())
        found = []
        for name in sorted(filter(None, map(_named, names))):
            try:
                bound = self.read(name)
            except CollectionNotFoundError:
                continue
            if {bound.faces, bound.records} <= names:
                found.append(bound)
        return found

    def unclaimed(self) -> list[str]:
        """Milvus's collections that belong to none of ours: what making one left that was cut short."""
        names = self._connection.names()
        claimed = {part for bound in self.all() for part in (bound.faces, bound.records)}
        return [name for name in names if name.startswith((f"{PREFIX}f_", f"{PREFIX}r_")) and name not in claimed]

    def create(self, name: str, embedder: str, dimension: int, terms: Terms) -> Bound:
        """Raises CollectionExistsError, NotOfferedError."""
        _refuse(terms)
        if dimension < 2:
            raise ValueError(f"an embedding in Milvus has at least two dimensions, not {dimension}")
        if self._is_there(name):
            raise CollectionExistsError(f"there is already a collection {name!r}")
        made = Bound(name, embedder, dimension, now(), secrets.token_hex(16), self._index, terms.ttl_s)
        schema.make_faces(self._connection, made.faces, dimension, made.index)
        schema.make_records(self._connection, made.records)
        if self._claimed(made) != made:
            for part in (made.faces, made.records):
                self._connection.drop(part)
            raise CollectionExistsError(f"there is already a collection {name!r}")
        return made

    def ensure(self, name: str, embedder: str, dimension: int, terms: Terms) -> Bound:
        """The collection, made if it is not there; raises ModelMismatchError if it is another embedder's."""
        if not self._is_there(name):
            try:
                return self.create(name, embedder, dimension, terms)
            except CollectionExistsError:  # made by somebody else just now
                pass
        return self.read(name).made_by(embedder)

    def delete(self, name: str) -> None:
        """First what tells of people, last the name: whoever asks again finishes what was cut short."""
        bound = self.read(name)
        for part in (bound.faces, bound.records, _claim(name)):
            self._connection.drop(part)
        self._seen.pop(name, None)

    def _claimed(self, made: Bound) -> Bound:
        """Whoever has the name, which may be somebody who was sooner."""
        try:
            schema.make_claim(self._connection, _claim(made.name), _text(made))
        except AwayError:
            raise
        except StorageError as error:
            try:
                return self.read(made.name)
            except CollectionNotFoundError:
                raise error from None
        return self.read(made.name)

    def _is_there(self, name: str) -> bool:
        """Finishes a deletion that was cut short."""
        try:
            bound = self.read(name)
        except CollectionNotFoundError:
            return False
        if {bound.faces, bound.records} <= set(self._connection.names()):
            return True
        self.delete(name)
        return False


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _refuse(terms: Terms) -> None:
    if terms.scoring != "max":
        raise NotOfferedError(f"scoring {terms.scoring!r} is not offered by a gallery in Milvus: leave it at 'max'")
    if terms.max_identities is not None or terms.max_faces is not None:
        raise NotOfferedError(
            "max_identities and max_faces are not offered by a gallery in Milvus, which cannot count and add at once: "
            "leave them out"
        )


def _missing(name: str) -> CollectionNotFoundError:
    return CollectionNotFoundError(f"there is no collection {name!r}")


def _claim(name: str) -> str:
    """The collection's name as Milvus allows it, and no other's."""
    return f"{PREFIX}c_" + "".join(_ESCAPED.get(character, character) for character in name)


def _named(claim: str) -> str | None:
    """The name that a claim is for; None for any other of Milvus's collections."""
    prefix = f"{PREFIX}c_"
    if not claim.startswith(prefix):
        return None
    return re.sub("_[_dh]", lambda found: _PLAIN[found[0]], claim.removeprefix(prefix))


def _text(bound: Bound) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "name": bound.name,
            "embedder": bound.embedder,
            "dimension": bound.dimension,
            "created_at": bound.created_at,
            "generation": bound.generation,
            "index": bound.index,
            "ttl_s": bound.ttl_s,
        }
    )


def _bound(described: dict[str, Any]) -> Bound:
    # milvus-lite keeps properties alone, a server's description is what tells two collections apart.
    text = described.get("description") or described.get("properties", {}).get(schema.BINDING, "")
    try:
        told = json.loads(text)
        found = told.pop("format")
        if found == FORMAT:
            return Bound(**told)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"Milvus's collection {described.get('collection_name')!r} is not one of ours: name another database"
        ) from error
    raise StorageError(f"the gallery is of format {found}, this version knows {FORMAT}: start the newer version")
