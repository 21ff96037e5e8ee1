"""Embeddings and crops sealed on their way into SQLite, and opened on their way out; where no key is given, neither.

Blobs are sealed by AES-256-GCM (NIST SP 800-38D): a fresh nonce of 12 bytes, the ciphertext, a tag of 16. The id of the
face, and whether it is an embedding or a crop, are authenticated along: what was changed, or stands under another face,
does not open. Whence the key comes is in `data_key.py`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gallery.local.storage_faults import damaged
from gallery.types import KeyRefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Kind = Literal["embedding", "crop"]
SEAL_BYTES = 28
"""By how much a blob grows."""
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Vault:
    """What one database's blobs are sealed with. Any thread may use it.

    `number` tells a database's data keys apart; 0 is none: then every blob goes through as it is.
    """

    path: Path
    number: int = 0
    aead: AESGCM | None = field(default=None, repr=False)

    @property
    def seals(self) -> bool:
        return self.aead is not None

    @property
    def columns(self) -> str:
        """The columns of `faces` that an embedding is opened with: without the id where that is not needed, for it is
        a sixth of the time that reading a row takes."""
        return "embedding" if self.aead is None else "embedding, id"

    def sealed(self, kind: Kind, face_id: bytes, blob: bytes) -> bytes:
        """SEAL_BYTES longer than the blob, and different each time."""
        return blob if self.aead is None else sealed(self.aead, blob, kind.encode() + face_id)

    def opened(self, kind: Kind, face_ids: Sequence[bytes], blobs: Sequence[bytes]) -> Sequence[bytes]:
        """What was sealed of each of the faces, in their order. Raises StorageError where it was not sealed so."""
        if self.aead is None:
            return blobs
        texts, bound = list[bytes](), kind.encode()
        try:
            for face_id, blob in zip(face_ids, blobs, strict=True):
                view = memoryview(blob)  # whose slices are no copies
                texts.append(self.aead.decrypt(view[:_NONCE_BYTES], view[_NONCE_BYTES:], bound + face_id))
        except _refusals():
            fault = ValueError(f"the {kind} of face {face_ids[len(texts)].hex()} does not decrypt")
            raise damaged(self.path, fault) from None
        return texts


class Connection(sqlite3.Connection):
    """A connection with what its database's blobs are sealed with."""

    vault: Vault


def of(connection: sqlite3.Connection) -> Vault:
    """The vault of a connection that a Store made."""
    assert isinstance(connection, Connection), "only a store's connections know how blobs are sealed"
    return connection.vault


def cipher(key: bytes) -> AESGCM:
    """Of a key of 32 bytes; raises KeyRefusedError where the package for it is missing."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise KeyRefusedError(
            "FACESERVE_GALLERY_KEY needs the extra `encryption`: pip install 'faceserve[encryption]'"
        ) from error
    return AESGCM(key)


def sealed(aead: AESGCM, text: bytes, bound: bytes) -> bytes:
    """The text under a fresh nonce, and bound to something that is not stored along."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + aead.encrypt(nonce, text, bound)


def opened(aead: AESGCM, blob: bytes, bound: bytes) -> bytes | None:
    """What `sealed` was given; None for anything that it did not give."""
    try:
        return aead.decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], bound)
    except _refusals():
        return None


def _refusals() -> tuple[type[Exception], ...]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag, ValueError, TypeError  # the latter two for what is too short to hold a nonce, or no blob
