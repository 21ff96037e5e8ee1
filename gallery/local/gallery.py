"""The gallery on one host: SQLite keeps the truth in a folder, FAISS searches a copy that follows the change log."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.gallery import MAX_PAGE
from gallery.local import answers, check, cursors, enrolment, erase, face_records, records, reembed, templates, transfer
from gallery.local.index.recipe import EXACT, Recipe
from gallery.local.records import CollectionRow, IdentityRow
from gallery.local.rows import Rows, read_rows
from gallery.local.searching import Searches
from gallery.local.store import KEEP_CHANGES, Store
from gallery.local.tenants import Tenants
from gallery.names import check_collection, check_embeddings, check_identity, check_moment
from gallery.types import (
    Collection,
    Enrolment,
    EraseIncompleteError,
    Idempotency,
    Identity,
    Imported,
    Match,
    Metadata,
    NewFace,
    Page,
    Reembedded,
    Survey,
    Target,
    Threshold,
)


class LocalGallery(Tenants):
    """A gallery in `folder`; `Gallery` says what each call promises. Searches are exact, unless `index` is a
    `recipe.Recipe`: then somebody may be missed in large collections.

    GalleryBusyError comes when the database stays locked past `busy_timeout_s`. `idempotency_ttl_s`: how long
    `enroll_once` remembers. `keep_changes`: length of the change log; a process that is further behind reads the
    collection anew. `erase_timeout_s`: how long an erase waits for readers of old bytes. `searches_at_once`: how many
    threads scan an index at a time; searches that come meanwhile share the next scan. `key`: 32 bytes that embeddings
    and crops are encrypted with (see `encrypting.py`), `old_key`: those before them, until `rekey` has changed them;
    KeyRefusedError where they are not encrypted, or with another.
    """

    def __init__(
        self,
        folder: Path,
        *,
        idempotency_ttl_s: float = 86_400,
        keep_changes: int = KEEP_CHANGES,
        busy_timeout_s: float = 5,
        erase_timeout_s: float = 5,
        searches_at_once: int = 1,
        index: str = EXACT,
        key: bytes | None = None,
        old_key: bytes | None = None,
    ) -> None:
        recipe = Recipe.parse(index)
        folder.mkdir(parents=True, exist_ok=True)
        self._idempotency_ttl_s = idempotency_ttl_s
        path = folder / "gallery.db"
        store = Store(path, busy_timeout_s=busy_timeout_s, keep_changes=keep_changes, key=key, old_key=old_key)
        super().__init__(store, erase_timeout_s, searches_at_once, recipe)
        self._searches = Searches(self._store, self._projections, at_once=searches_at_once)
        try:
            # What a crash kept an erase from finishing. Others may be reading just now; then the next erase does it.
            with suppress(EraseIncompleteError):
                erase.fulfil(self._store, timeout_s=0)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LocalGallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sweeper.close()
        self._projections.close()
        self._store.close()

    # --- enrolment

    def enroll(
        self,
        collection: str,
        identity: str,
        faces: Sequence[NewFace],
        *,
        embedder: str,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> Enrolment:
        moment = check_moment(expires_at)
        with self._store.write() as connection:
            row = records.collection(connection, check_collection(collection)).made_by(embedder)
            return enrolment.enroll(connection, row, check_identity(identity), faces, metadata, moment)[0]

    def enroll_once(
        self,
        collection: str,
        identity: str,
        faces: Sequence[NewFace],
        *,
        embedder: str,
        idempotency: Idempotency,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> bytes:
        """The answer is stored in the enrolment's transaction."""
        now, moment = time.time(), check_moment(expires_at)
        with self._store.write() as connection:
            row = records.collection(connection, check_collection(collection)).made_by(embedder)
            answers.forget(connection, before=now - self._idempotency_ttl_s)
            name = check_identity(identity)
            return enrolment.enroll_once(connection, row, name, faces, metadata, idempotency, at=now, expires_at=moment)

    def recall(self, collection: str, key: str, fingerprint: str) -> bytes | None:
        with self._store.read() as connection:
            row = records.collection(connection, check_collection(collection))
            return answers.recall(connection, row.key, key, fingerprint, since=time.time() - self._idempotency_ttl_s)

    # --- search

    def search(
        self,
        collection: str,
        embeddings: NDArray[np.float32],
        *,
        embedder: str,
        top_k: int,
        threshold: Threshold,
        chosen: Filter | None = None,
    ) -> list[list[Match]]:
        """Exact."""
        return self._searches.nearest(
            check_collection(collection), embeddings, embedder=embedder, top_k=top_k, threshold=threshold, chosen=chosen
        )

    def lookalikes(
        self, collection: str, enrolled: Enrolment, faces: Sequence[NewFace], *, embedder: str, threshold: Threshold
    ) -> list[Match]:
        return self._searches.lookalikes(
            check_collection(collection), enrolled, faces, embedder=embedder, threshold=threshold
        )

    def similarity(
        self, collection: str, identity: str, embedding: NDArray[np.float32], *, embedder: str
    ) -> tuple[float, str]:
        with self._store.read() as connection:
            row = records.collection(connection, check_collection(collection)).made_by(embedder)
            query = check_embeddings(embedding[np.newaxis], row.collection.dimension)[0]
            owner = records.identity(connection, row, check_identity(identity))
            best, face_id = face_records.nearest(connection, owner, query)
            if row.collection.scoring == "mean":
                return templates.similarity(connection, row, owner, query), face_id
            return best, face_id

    # --- identities

    def identity(self, collection: str, name: str) -> Identity:
        with self._store.read() as connection:
            _, owner = _owner(connection, collection, name)
            return face_records.described(connection, owner)

    def identities(self, collection: str, *, cursor: str | None = None, limit: int = 100) -> Page:
        """In the order they were enrolled."""
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit is {limit}, expected 1 to {MAX_PAGE}")
        after = cursors.decode(cursor)
        with self._store.read() as connection:
            row = records.collection(connection, check_collection(collection))
            owners = records.identities_after(connection, row.key, after, limit + 1)
            page = tuple(face_records.described(connection, owner) for owner in owners[:limit])
        return Page(page, cursors.encode(owners[limit - 1].key) if len(owners) > limit else None)

    def update_identity(
        self,
        collection: str,
        name: str,
        *,
        new_name: str | None = None,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> Identity:
        moment = check_moment(expires_at)
        with self._store.write() as connection:
            row, owner = _owner(connection, collection, name)
            if new_name is not None:
                owner = records.rename(connection, row, owner, check_identity(new_name))
            if metadata is not None:
                owner = records.set_metadata(connection, owner, metadata)
            if moment is not None:
                owner = records.set_expiry(connection, owner, None if moment == math.inf else moment)
            return face_records.described(connection, owner)

    def delete_identity(self, collection: str, name: str) -> int:
        """No byte of the identity is left in the gallery's files."""
        with erase.erasing(self._store, self._erase_timeout_s) as connection:
            row, owner = _owner(connection, collection, name)
            return records.remove_identity(connection, row.key, owner)

    def delete_face(self, collection: str, name: str, face_id: str) -> None:
        with erase.erasing(self._store, self._erase_timeout_s) as connection:
            row, owner = _owner(connection, collection, name)
            face_records.remove_face(connection, owner, face_id)
            templates.refresh(connection, row, owner, erased=True)

    def crop(self, collection: str, name: str, face_id: str) -> bytes | None:
        with self._store.read() as connection:
            _, owner = _owner(connection, collection, name)
            return face_records.crop(connection, owner, face_id)

    # --- in and out

    def export(self, collection: str) -> Iterator[dict[str, Any]]:
        self.collection(collection)
        return transfer.exported(self._store, collection)

    def import_records(
        self, lines: Iterable[Mapping[str, Any]], *, embedder: str, collection: str | None = None
    ) -> Imported:
        return transfer.imported(self._store, lines, embedder=embedder, collection=collection)

    def rows(self, collection: str) -> tuple[Collection, Rows]:
        """A copy of what searches look at."""
        return read_rows(self._store, check_collection(collection))

    # --- another embedder

    def survey(self, collection: str) -> Survey:
        """Reads in many short transactions."""
        return reembed.survey(self._store, check_collection(collection))

    def reembed(self, collection: str, target: Target, *, made_by: str, drop_without_crop: bool = False) -> Reembedded:
        work = reembed.Reembedding(self._store, check_collection(collection), target, made_by, drop=drop_without_crop)
        return work.run(self._erase_timeout_s)

    # --- health

    def ready(self) -> None:
        self.collections()

    def check(self) -> list[str]:
        found = self.collections()
        mean = [templates.name_of(collection.name) for collection in found if collection.scoring == "mean"]
        return check.check(self._projections, [*(collection.name for collection in found), *mean])


def _owner(connection: sqlite3.Connection, collection: str, name: str) -> tuple[CollectionRow, IdentityRow]:
    row = records.collection(connection, check_collection(collection))
    return row, records.identity(connection, row, check_identity(name))
