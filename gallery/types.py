"""What goes into a gallery, what comes out of it, and how it says no."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:  # the process that only watches over workers reads settings, and those read this
    import numpy as np
    from numpy.typing import NDArray

Metadata = Mapping[str, Any]
Threshold = float | Callable[[int], float]
"""The least cosine of an answer, or what gives it for the number of identities searched."""
Scoring = Literal["max", "mean"]
"""How similar a face is to an identity: to the best of its faces, or to their mean, brought to unit length."""
MAX_TTL_S = 1e10
"""The longest lifetime that a collection may give, some 317 years: the end of it is still a date."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A tenant's faces, bound to the embedder whose digest made all its embeddings (until `Gallery.reembed`)."""

    name: str
    embedder: str
    dimension: int
    created_at: str
    identities: int
    faces: int
    scoring: Scoring = "max"
    max_identities: int | None = None
    max_faces: int | None = None
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a collection is made with, for good. `max_identities` of the collection, `max_faces` of an identity; None
    for no limit. `ttl_s`: how long an identity lives whose enrolment does not say; None for ever."""

    scoring: Scoring = "max"
    max_identities: int | None = None
    max_faces: int | None = None
    ttl_s: float | None = None

    def __post_init__(self) -> None:
        if self.scoring not in get_args(Scoring):
            raise ValueError(f"scoring is {self.scoring!r}, expected one of {', '.join(get_args(Scoring))}")
        for most in (self.max_identities, self.max_faces):
            if most is not None and (type(most) is not int or most < 1):
                raise ValueError(f"a limit is {most!r}, expected a whole number of at least 1, or none")
        if self.ttl_s is not None and not (type(self.ttl_s) in (int, float) and 0 < self.ttl_s <= MAX_TTL_S):
            raise ValueError(
                f"ttl_s is {self.ttl_s!r}, expected seconds, more than 0 and at most {MAX_TTL_S:.0f}, or none"
            )


@dataclass(frozen=True, slots=True)
class NewFace:
    """A face to enrol. `embedding` is (D,) float32 of unit length; `source_sha256` is of the picture's bytes (hex)."""

    embedding: NDArray[np.float32]
    source_sha256: str
    quality: Mapping[str, float] = field(default_factory=dict)
    crop_png: bytes | None = None


@dataclass(frozen=True, slots=True)
class EnrolledFace:
    """`duplicate_of` is the id of the same picture's face already under this identity; then nothing was written and
    `face_id` is that id too."""

    face_id: str
    duplicate_of: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What one call to `enroll` did. `created` is true when the identity is new."""

    identity: str
    created: bool
    faces: tuple[EnrolledFace, ...]


@dataclass(frozen=True, slots=True)
class Face:
    """A stored face, without its embedding."""

    face_id: str
    created_at: str
    source_sha256: str
    quality: Mapping[str, float]
    has_crop: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """A named person in a collection. `expires_at` is in seconds since 1970-01-01T00:00Z; None for never."""

    name: str
    metadata: Metadata
    created_at: str
    faces: tuple[Face, ...]
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One identity found. `similarity` is cosine, clipped to [-1, 1]; `face_id` is the best of its faces."""

    identity: str
    similarity: float
    face_id: str
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Page:
    """Identities in the order they were enrolled; `cursor` is None on the last page, opaque otherwise."""

    identities: tuple[Identity, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: new identities and faces, and faces skipped because they were there already, or because their
    identity has expired since the export."""

    collection: str
    identities: int
    faces: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a collection keeps that embeddings could be made from anew.

    `named` are a few of those who have a face without a crop. `crop_sizes` counts the crops of each (height, width) in
    px; (0, 0) are those that are no PNG.
    """

    collection: Collection
    without_crop: int
    named: tuple[str, ...]
    crop_sizes: Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class Reembedded:
    """What `Gallery.reembed` did: how many faces have a new embedding, and how many were dropped for want of a crop."""

    collection: str
    faces: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Target:
    """The embedder to come, for one run.

    `embed` turns n crops, PNG files as they were kept, into (n, dimension) float32 of unit length, in their order; it
    is called from one thread, with at most `batch` crops. `on_progress(done, of)` hears how many faces are done.
    """

    embedder: str
    dimension: int
    embed: Callable[[Sequence[bytes]], NDArray[np.float32]]
    batch: int = 32
    on_progress: Callable[[int, int], None] = lambda done, of: None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Makes an enrolment safe to repeat: `render` gives the answer's bytes, stored in the same transaction under `key`.

    `fingerprint` is of the request's body: the key used again with another one is a conflict.
    """

    key: str
    fingerprint: str
    render: Callable[[Enrolment], bytes]


class GalleryError(Exception):
    """Anything a gallery could not do. The message names what was asked."""


class CollectionNotFoundError(GalleryError): ...


class CollectionExistsError(GalleryError): ...


class CollectionFullError(GalleryError):
    """One identity more than the collection may hold; nothing was written."""


class IdentityFullError(GalleryError):
    """One face more than an identity of the collection may have; nothing was written."""


class ModelMismatchError(GalleryError):
    """The collection was made by another embedder; embeddings of two models cannot be compared.

    `made_by` and `asked` are the two embedders' digests, `collection` is its name, None for an export.
    """

    def __init__(self, message: str, *, collection: str | None, made_by: str, asked: str) -> None:
        super().__init__(message)
        self.collection = collection
        self.made_by = made_by
        self.asked = asked


class ReembedRefusedError(GalleryError):
    """What the collection keeps does not do to make its embeddings anew; nothing in it was changed."""


class NotOfferedError(GalleryError):
    """What was asked for is not offered by this kind of gallery; nothing was changed. The message says what to do."""


class IdentityNotFoundError(GalleryError): ...


class IdentityExistsError(GalleryError):
    """A rename onto a name already taken."""


class FaceNotFoundError(GalleryError): ...


class InvalidNameError(GalleryError):
    """A name with control characters or `/`, or empty, or too long."""


class InvalidCursorError(GalleryError): ...


class InvalidFilterError(GalleryError):
    """A filter without keys or values, with too many, or with one that metadata cannot be compared with."""


class InvalidEmbeddingError(GalleryError):
    """An embedding of another type, dimension or length than the collection's, or not finite."""


class InvalidRecordError(GalleryError):
    """A line of an export that cannot be imported, or an export that ends too early. Nothing of that line was written;
    what came before it stays, and importing again goes on from there."""


class IdempotencyConflictError(GalleryError):
    """The key was used before with another body."""


class GalleryBusyError(GalleryError):
    """Others' writing left no room for this in time: ask again, which does nothing twice. In a folder nothing was
    written; elsewhere a part may have been."""


class EraseIncompleteError(GalleryError):
    """The identity is gone from every answer, but old bytes could not yet be wiped from the write-ahead log. The
    promise is kept in the database: the next erase, or opening the gallery, fulfils it; so does asking again."""


class StorageError(GalleryError):
    """What keeps the gallery could not be read or written: read-only, damaged, replaced, closed, away, or of a newer
    version."""


class KeyRefusedError(StorageError):
    """The key given, or none, is not what opens this gallery; the message says what to do."""


class StorageFullError(StorageError):
    """No space is left for what was to be written, and reading goes on. In a folder nothing of it was written;
    elsewhere a part may have been."""
