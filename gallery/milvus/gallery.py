"""The gallery in a Milvus: many machines' services share it, and it holds what no single machine does."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.gallery import USUAL_TERMS
from gallery.milvus import answers, check, enrolment, erasing, records, search, transfer
from gallery.milvus.address import Address
from gallery.milvus.bindings import Bindings, Bound
from gallery.milvus.connection import Connection, one_of
from gallery.milvus.enrolment import Wish
from gallery.milvus.individuals import Individuals
from gallery.milvus.locks import KeyLocks
from gallery.milvus.search import Searches
from gallery.milvus.sweeper import Sweeper
from gallery.names import check_collection, check_identity, check_moment
from gallery.types import (
    Collection,
    Enrolment,
    Idempotency,
    Imported,
    Match,
    Metadata,
    NewFace,
    NotOfferedError,
    Reembedded,
    Survey,
    Target,
    Terms,
    Threshold,
)

_FORGET_EVERY_S = 60.0


class MilvusGallery(Individuals):
    """A gallery in the Milvus at `address`; `Gallery` says what each call promises, docs/adr/0009-milvus.md where this
    one promises less. Raises AwayError, a StorageError, while Milvus cannot be reached, and goes on when it can.

    `timeout_s` is the deadline of one call to Milvus; a call of this class makes a few. `idempotency_ttl_s`: how long
    `enroll_once` remembers.
    """

    def __init__(self, address: Address, *, idempotency_ttl_s: float = 86_400, timeout_s: float = 5) -> None:
        connection = Connection(address, timeout_s=timeout_s)
        super().__init__(connection, Bindings(connection, address.index))
        self._searches = Searches(self._connection)
        self._sweeper = Sweeper(self._sweep)
        self._idempotency_ttl_s = idempotency_ttl_s
        self._keys = KeyLocks()
        self._forgot: dict[str, float] = {}
        self._sweeper.start()  # who expires may have been enrolled long ago, and elsewhere

    def __enter__(self) -> MilvusGallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sweeper.close()
        self._connection.close()

    # --- collections

    def collections(self) -> list[Collection]:
        with self._connection.working():
            return [self.collection(bound.name) for bound in self._bindings.all()]

    def collection(self, name: str) -> Collection:
        return self._bindings.on(name, self._described)

    def create_collection(self, name: str, embedder: str, dimension: int, terms: Terms = USUAL_TERMS) -> Collection:
        """Raises NotOfferedError for a scoring by mean, and for limits."""
        with self._connection.working():
            bound = self._bindings.create(check_collection(name), embedder, dimension, terms)
        return transfer.described(bound, 0, 0)

    def ensure_collection(self, name: str, embedder: str, dimension: int) -> Collection:
        with self._connection.working():
            return self._described(self._bindings.ensure(check_collection(name), embedder, dimension, USUAL_TERMS))

    def delete_collection(self, name: str) -> None:
        with self._connection.working():
            self._bindings.delete(name)

    def _described(self, bound: Bound) -> Collection:
        identities, total = self._connection.together(
            lambda: search.identities(self._connection, bound), lambda: self._connection.count(bound.faces)
        )
        if total:
            due = self._connection.page(bound.records, records.due(time.time()), ["owner"], limit=1000)
            if due:
                total -= self._connection.count(bound.faces, one_of("owner", [row["owner"] for row in due]))
        return transfer.described(bound, identities, total)

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
        wish = Wish(check_identity(identity), faces, metadata, check_moment(expires_at))
        return self._bindings.on(
            collection, lambda bound: enrolment.enroll(self._connection, bound, wish)[0], embedder=embedder
        )

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
        """Two processes that are asked at once enrol the same faces once, but may answer with two renderings."""
        wish = Wish(check_identity(identity), faces, metadata, check_moment(expires_at))
        with self._keys.held(collection, idempotency.key):
            return self._bindings.on(
                collection, lambda bound: self._enroll_once(bound, wish, idempotency), embedder=embedder
            )

    def _enroll_once(self, bound: Bound, wish: Wish, once: Idempotency) -> bytes:
        self._forget(bound)
        stored = answers.recall(self._connection, bound, once.key, once.fingerprint, self._remembered_since())
        if stored is not None:
            return stored
        _, owner, answer = enrolment.enroll(self._connection, bound, wish, once.render)
        answers.remember(self._connection, bound, once.key, once.fingerprint, owner, answer)
        return answer

    def recall(self, collection: str, key: str, fingerprint: str) -> bytes | None:
        since = self._remembered_since()
        return self._bindings.on(
            collection, lambda bound: answers.recall(self._connection, bound, key, fingerprint, since)
        )

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
        """As exact as Milvus's index. Raises InvalidFilterError for a filter that lets too many pass."""

        def work(bound: Bound) -> list[list[Match]]:
            return self._searches.nearest(bound, embeddings, top_k=top_k, threshold=threshold, chosen=chosen)

        return self._bindings.on(collection, work, embedder=embedder)

    def lookalikes(
        self, collection: str, enrolled: Enrolment, faces: Sequence[NewFace], *, embedder: str, threshold: Threshold
    ) -> list[Match]:
        return self._bindings.on(
            collection, lambda bound: self._searches.lookalikes(bound, enrolled, faces, threshold), embedder=embedder
        )

    def similarity(
        self, collection: str, identity: str, embedding: NDArray[np.float32], *, embedder: str
    ) -> tuple[float, str]:
        name = check_identity(identity)
        return self._bindings.on(
            collection, lambda bound: self._searches.similarity(bound, name, embedding), embedder=embedder
        )

    # --- in and out

    def export(self, collection: str) -> Iterator[dict[str, Any]]:
        self._bindings.read(collection)
        return transfer.exported(self._connection, self._bindings, collection)

    def import_records(
        self, lines: Iterable[Mapping[str, Any]], *, embedder: str, collection: str | None = None
    ) -> Imported:
        with self._connection.working():
            return transfer.imported(self._connection, self._bindings, lines, embedder=embedder, collection=collection)

    # --- another embedder

    def survey(self, collection: str) -> Survey:
        """Raises NotOfferedError."""
        raise _no_reembedding(self.collection(collection).name)

    def reembed(self, collection: str, target: Target, *, made_by: str, drop_without_crop: bool = False) -> Reembedded:
        """Raises NotOfferedError."""
        raise _no_reembedding(self.collection(collection).name)

    # --- health

    def ready(self) -> None:
        with self._connection.working():
            self._connection.names()

    def check(self) -> list[str]:
        with self._connection.working():
            return check.check(self._connection, self._bindings)

    # --- what time brings

    def _remembered_since(self) -> float:
        return max(0.0, time.time() - self._idempotency_ttl_s)

    def _forget(self, bound: Bound) -> None:
        """Drops old answers, once in a while."""
        now = time.monotonic()
        if now - self._forgot.get(bound.generation, -math.inf) > _FORGET_EVERY_S:
            self._forgot[bound.generation] = now
            answers.forget(self._connection, bound, self._remembered_since())

    def _sweep(self) -> None:
        for bound in self._bindings.all():
            self._bindings.on(bound.name, self._erase_expired)

    def _erase_expired(self, bound: Bound) -> None:
        while erasing.erase_expired(self._connection, bound, time.time()):
            pass


def _no_reembedding(collection: str) -> NotOfferedError:
    return NotOfferedError(
        f"collection {collection!r} is in Milvus, where embeddings are not made anew in place: export it, import it "
        "into a gallery in a folder, make them anew there, and bring it back under another name"
    )
