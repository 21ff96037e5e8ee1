"""The records that a collection travels as, whatever keeps it: out for a backup or a move, and in again.

A header, then each identity followed by its faces, then an end with the counts and a digest. Here is their form alone;
each gallery reads and writes its own store.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from gallery.names import check_embeddings, check_identity, check_moment
from gallery.types import (
    Collection,
    InvalidEmbeddingError,
    InvalidNameError,
    InvalidRecordError,
    Metadata,
    ModelMismatchError,
    NewFace,
    Terms,
)

FORMAT = "faceserve-gallery-1"
_HEX_32 = re.compile(r"[0-9a-f]{32}")
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_MODULUS = 1 << 256

Record = Mapping[str, Any]
NewRecord = dict[str, Any]


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """An identity as it arrives. `id` is its 16 bytes for life; `expires_at` is in seconds since the epoch, None for
    never."""

    id: bytes
    name: str
    metadata: Metadata
    created_at: str
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class FaceRecord:
    """A face as it arrives. `id` is its 16 bytes."""

    id: bytes
    created_at: str
    face: NewFace


def header(collection: Collection) -> NewRecord:
    """What a collection is bound to, and its terms."""
    return {
        "type": "collection",
        "format": FORMAT,
        "collection": collection.name,
        "embedder": collection.embedder,
        "dimension": collection.dimension,
        "scoring": collection.scoring,
        "max_identities": collection.max_identities,
        "max_faces": collection.max_faces,
        "ttl_s": collection.ttl_s,
    }


def identity_record(
    id_: bytes, name: str, metadata: Metadata, created_at: str, expires_at: float | None = None
) -> NewRecord:
    """`id_` is 16 bytes; `expires_at` is in seconds since the epoch, None for never."""
    return {
        "type": "identity",
        "id": id_.hex(),
        "identity": name,
        "metadata": dict(metadata),
        "created_at": created_at,
        "expires_at": expires_at,
    }


def face_record(
    face_id: bytes,
    created_at: str,
    source_sha256: bytes,
    quality: Mapping[str, float],
    embedding: bytes,
    crop_png: bytes | None,
) -> NewRecord:
    """`face_id` is 16 bytes, `source_sha256` 32; `embedding` is D little-endian float32, which travel bit for bit."""
    return {
        "type": "face",
        "face_id": face_id.hex(),
        "created_at": created_at,
        "source_sha256": source_sha256.hex(),
        "quality": dict(quality),
        "embedding": base64.b64encode(embedding).decode(),
        "crop_png": None if crop_png is None else base64.b64encode(crop_png).decode(),
    }


class Tally:
    """Counts and digests the identities and faces that pass. For one thread; its memory does not grow.

    The digest is the sum, modulo 2^256, of the SHA-256 of every record, a face's with its identity's id. A sum does not
    know of order, so that two galleries can be compared that answer in different ones; it finds damage and mistakes,
    and is no signature.
    """

    def __init__(self) -> None:
        self.identities = 0
        self.faces = 0
        self._sum = 0
        self._owner: str | None = None

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum:064x}"

    def add(self, record: Record) -> None:
        """Takes an identity or a face. Raises ValueError, KeyError or TypeError for any other, see `placed`."""
        if record["type"] == "identity":
            self._owner = str(record["id"])
            self.identities += 1
        elif record["type"] != "face":
            raise ValueError(f"the type is {str(record['type'])[:40]!r}, expected 'identity', 'face' or 'end'")
        elif self._owner is None:
            raise ValueError("a face comes before any identity")
        else:
            self.faces += 1
        digest = hashlib.sha256(f"{self._owner}\n{_canonical(record)}".encode()).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _MODULUS

    def end(self) -> NewRecord:
        """The record that ends an export of what was added."""
        return {"type": "end", "identities": self.identities, "faces": self.faces, "digest": self.digest}

    def check(self, end: Record) -> None:
        """Raises ValueError where what was added is not what the end record tells of; older ones have no digest."""
        for key, seen in (("identities", self.identities), ("faces", self.faces)):
            if end[key] != seen:
                raise ValueError(f"the end record says {end[key]} {key}, but {seen} came before it")
        if end.get("digest", self.digest) != self.digest:
            raise ValueError(
                f"the end record says digest {str(end['digest'])[:80]}, but the records before it have {self.digest}: "
                "some were changed after the export was made. What was imported of them stays; to be rid of it, delete "
                "the collection and import an export that is whole"
            )


class Incoming(Tally):
    """The records of an import as they come, up to the one that ends them. For one thread."""

    def __init__(self) -> None:
        super().__init__()
        self._end: tuple[int, Record] | None = None

    def admit(self, number: int, record: Record) -> bool:
        """Whether the record is an identity or a face, now counted; the end is kept. Raises what `add` raises."""
        if self._end:
            raise ValueError("there is a record after the end")
        if record["type"] == "end":
            self._end = number, record
            return False
        self.add(record)
        return True

    def finish(self) -> None:
        """For when all is written: what came in stays, even where the end record then proves it wrong. Raises
        InvalidRecordError."""
        if self._end is None:
            raise InvalidRecordError(
                f"the export ends without its end record, after {self.identities} identities and {self.faces} faces: "
                "it was cut short; export again"
            )
        number, end = self._end
        with placed(number):
            self.check(end)


def _canonical(record: Record) -> str:
    """The record as one text, whichever way its keys and numbers were written."""
    plain = dict(record)
    if plain["type"] == "face":
        plain["quality"] = {str(name): float(value) for name, value in plain["quality"].items()}
    elif plain.get("expires_at") is None:
        plain.pop("expires_at", None)  # earlier exports have none
    else:
        plain["expires_at"] = float(plain["expires_at"])
    return json.dumps(plain, sort_keys=True, allow_nan=False, separators=(",", ":"))


def checked_header(record: Record, embedder: str) -> tuple[str, int, Terms]:
    """The collection's name (unchecked), its dimension and terms. Raises ModelMismatchError for an embedder other than
    the one with that digest, and ValueError, KeyError or TypeError for what is no header, see `placed`."""
    if record["type"] != "collection" or record["format"] != FORMAT:
        raise ValueError(f"expected the header of a {FORMAT!r} export")
    if record["embedder"] != embedder:
        raise ModelMismatchError(
            f"the export holds embeddings of model {record['embedder']}, not of {embedder}: use that model, or enrol "
            "the pictures again",
            collection=None,
            made_by=str(record["embedder"]),
            asked=embedder,
        )
    # Earlier exports say nothing of these: there was no choice then.
    terms = Terms(
        record.get("scoring", "max"), record.get("max_identities"), record.get("max_faces"), record.get("ttl_s")
    )
    return str(record["collection"]), int(record["dimension"]), terms


def identity_of(record: Record) -> IdentityRecord:
    """The identity of such a record, checked. Raises InvalidNameError, and what `placed` knows."""
    return IdentityRecord(
        id=bytes.fromhex(_matching(_HEX_32, record["id"])),
        name=check_identity(record["identity"]),
        metadata=dict(record["metadata"]),
        created_at=_timestamp(record["created_at"]),
        expires_at=_moment(record.get("expires_at")),
    )


def face_of(record: Record, dimension: int) -> FaceRecord:
    """The face of such a record, checked. Raises InvalidEmbeddingError, and what `placed` knows."""
    embedding = np.frombuffer(base64.b64decode(record["embedding"], validate=True), "<f4").astype(np.float32)
    crop = record["crop_png"]
    face = NewFace(
        embedding=check_embeddings(embedding[np.newaxis], dimension)[0],
        source_sha256=_matching(_HEX_64, record["source_sha256"]),
        quality={str(name): float(value) for name, value in record["quality"].items()},
        crop_png=None if crop is None else base64.b64decode(crop, validate=True),
    )
    return FaceRecord(bytes.fromhex(_matching(_HEX_32, record["face_id"])), _timestamp(record["created_at"]), face)


def is_past(expires_at: float | None) -> bool:
    """Whether that moment has come: an identity that expired since its export is to stay out, and its faces with it."""
    return expires_at is not None and expires_at <= time.time()


@contextmanager
def placed(number: int) -> Iterator[None]:
    """Makes InvalidRecordError of what a malformed record raises, and says which one it is, the header being 1."""
    try:
        yield
    except (ValueError, InvalidNameError, InvalidEmbeddingError) as error:
        raise InvalidRecordError(f"record {number} of the export: {error}") from error
    except KeyError as error:
        raise InvalidRecordError(f"record {number} of the export: {error} is missing") from error
    except (TypeError, AttributeError, RecursionError) as error:
        raise InvalidRecordError(f"record {number} of the export: {error!r}") from error


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not {pattern.pattern}")
    return text


def _timestamp(text: str) -> str:
    datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text


def _moment(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if type(seconds) not in (int, float) or math.isinf(seconds):
        raise ValueError(f"expires_at is {seconds!r}, expected seconds since 1970-01-01T00:00Z, or null for never")
    return check_moment(float(seconds))
