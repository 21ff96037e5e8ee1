"""The gallery: who is who, asked and changed from any thread of any process that has it open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.types import (
    Collection,
    Enrolment,
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
    Terms,
    Threshold,
)

MAX_PAGE = 1000
USUAL_TERMS = Terms()


class Gallery(Protocol):
    """What every gallery promises, whatever it keeps its faces in: `gallery/local` on one host, others elsewhere.

    Every method may be called from any thread, and several processes may have one gallery open: what one has answered,
    the others know at their next call. Beside the errors named below, any call may raise GalleryBusyError (ask
    again), StorageError, InvalidNameError, and CollectionNotFoundError. Names are compared in Unicode's composed
    form.

    From the moment an identity expires (`expires_at`, seconds since 1970-01-01T00:00Z) it is in no answer of any
    process, as if it had been erased then, and its name is free; a gallery that cannot see to that raises instead of
    answering. Its bytes leave the files soon after.
    """

    def __enter__(self) -> Gallery: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Waits for calls in progress; later ones raise StorageError. May be called twice."""

    # --- collections

    def collections(self) -> list[Collection]:
        """All, in name order."""

    def collection(self, name: str) -> Collection:
        """Costs the same however many faces there are."""

    def create_collection(self, name: str, embedder: str, dimension: int, terms: Terms = USUAL_TERMS) -> Collection:
        """Bound to the embedder with that digest, and to those terms; raises CollectionExistsError."""

    def ensure_collection(self, name: str, embedder: str, dimension: int) -> Collection:
        """The collection, made if need be; raises ModelMismatchError if it is another embedder's."""

    def delete_collection(self, name: str) -> None:
        """Erases all that is in it; raises EraseIncompleteError."""

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
        """Adds faces to a new or known identity; on disk, and found by every process, when this returns.

        `metadata` (JSON) replaces what a known identity has; None leaves it. So does `expires_at`, `math.inf` being
        never. Where it is None and the collection has a `ttl_s`, a new identity lives for that long, and a known one
        that gets another face for that long at least, counted from now. A picture already enrolled under this identity
        is not enrolled again. Raises ModelMismatchError, InvalidEmbeddingError, CollectionFullError and
        IdentityFullError.
        """

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
        """`enroll`, at most once for each key of a collection: the answer rendered then, from then on.

        Raises IdempotencyConflictError.
        """

    def recall(self, collection: str, key: str, fingerprint: str) -> bytes | None:
        """The answer `enroll_once` stored, None if there is none; raises IdempotencyConflictError."""

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
        """For each row of (n, D) float32 unit embeddings at most `top_k` different identities, best first, to whose
        best face (or mean, as the collection scores) the cosine is at least `threshold`, a number or what gives one for
        the number of identities searched; of those identities alone that `chosen` lets pass.

        Raises ModelMismatchError and InvalidEmbeddingError."""

    def lookalikes(
        self, collection: str, enrolled: Enrolment, faces: Sequence[NewFace], *, embedder: str, threshold: Threshold
    ) -> list[Match]:
        """Others than the one who was just `enrolled` that those `faces` could be, best first: at most one a face, of
        a cosine of at least `threshold`. One search. Raises what `search` raises."""

    def similarity(
        self, collection: str, identity: str, embedding: NDArray[np.float32], *, embedder: str
    ) -> tuple[float, str]:
        """The cosine of one (D,) float32 unit embedding to the identity, as the collection scores it, and the id of the
        nearest of its faces.

        Raises ModelMismatchError, InvalidEmbeddingError, IdentityNotFoundError, FaceNotFoundError if it has no face.
        """

    # --- identities

    def identity(self, collection: str, name: str) -> Identity:
        """Raises IdentityNotFoundError."""

    def identities(self, collection: str, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Pages of 1 to MAX_PAGE, in an order that does not change; raises InvalidCursorError."""

    def update_identity(
        self,
        collection: str,
        name: str,
        *,
        new_name: str | None = None,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> Identity:
        """Renames, replaces metadata, and sets when the identity expires (None leaves it, `math.inf` is never); every
        process answers with the new ones from now on.

        Raises IdentityNotFoundError and IdentityExistsError.
        """

    def delete_identity(self, collection: str, name: str) -> int:
        """Erases embeddings, crops, name, metadata and stored answers; how many faces there were.

        Raises IdentityNotFoundError and EraseIncompleteError.
        """

    def delete_face(self, collection: str, name: str, face_id: str) -> None:
        """Erases one face; its identity stays, be it without faces. Raises IdentityNotFoundError, FaceNotFoundError
        and EraseIncompleteError."""

    def crop(self, collection: str, name: str, face_id: str) -> bytes | None:
        """The PNG kept with the face, None if none was; raises IdentityNotFoundError and FaceNotFoundError."""

    # --- in and out

    def export(self, collection: str) -> Iterator[dict[str, Any]]:
        """The collection as records for JSON, in constant memory; no erase waits for a slow reader of it."""

    def import_records(
        self, lines: Iterable[Mapping[str, Any]], *, embedder: str, collection: str | None = None
    ) -> Imported:
        """Takes in what `export` gave, into `collection` or the one it names, made if need be; constant memory.

        May be run again after a failure: what is there already is skipped. Raises InvalidRecordError,
        ModelMismatchError, IdentityExistsError where a name is taken by somebody else, and what is over a limit.
        """

    # --- another embedder

    def survey(self, collection: str) -> Survey:
        """What `reembed` would have to go by. Reads all crops."""

    def reembed(self, collection: str, target: Target, *, made_by: str, drop_without_crop: bool = False) -> Reembedded:
        """Makes all embeddings anew from the crops kept, and binds the collection to the target's embedder, all at once
        for whoever reads. Identities, face ids, metadata, pictures' digests and crops stay; what is enrolled meanwhile
        is made anew too. May be run again after a crash, or twice at once.

        Raises ReembedRefusedError where faces have no crop, unless they are to be dropped (their identities stay),
        ModelMismatchError if the collection is not `made_by`'s (any more), EraseIncompleteError, and what `embed` does.
        """

    # --- health

    def ready(self) -> None:
        """Raises StorageError or GalleryBusyError when the gallery cannot be read."""

    def check(self) -> list[str]:
        """What differs between what is searched and what is kept, row by row; [] when nothing does. Slow."""
