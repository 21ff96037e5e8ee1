"""Subjects: a keyed digest in a person's place, by which whoever knows the name finds them, and nobody else."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import Path

from app.audit.trail import sync_path

KEY_BYTES, DIGEST_CHARACTERS = 32, 32
KEY_FILE = "audit.key"


class Subjects:
    """Digests of people by one secret key. May be used from any thread.

    Without the key a digest tells nothing, not even to whoever tries all names; so to destroy it makes the audit
    forget for good whom it is about.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def fingerprint(self) -> str:
        """Tells one key from another."""
        return hashlib.sha256(b"fingerprint\0" + self._key).hexdigest()[:8]

    def digest(self, collection: str, identity: str) -> str:
        """Of the identity in the collection: HMAC-SHA-256, its first 128 bits in hex. Names are compared as the gallery
        does, in Unicode's composed form."""
        name = unicodedata.normalize("NFC", identity)
        # "surrogatepass": what a command line hands over need not be text.
        text = f"{collection}\0{name}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:DIGEST_CHARACTERS]


def open_subjects(data_dir: Path, *, make: bool = True) -> Subjects:
    """By the key in the data folder, made if need be and unless told not to, readable by this user alone.

    The key lies beside the audit's folder, not in it, so that a copy of the folder names nobody. Raises OSError, and
    FileNotFoundError where there is none and none is to be made.
    """
    path = data_dir / KEY_FILE
    if make and not path.exists():
        _make(path)
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        reason = "not there, and without the audit's key no name is found: put it back, or ask by --subject"
        raise FileNotFoundError(errno.ENOENT, reason, str(path)) from None
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} has {len(key)} bytes, expected {KEY_BYTES}: put the audit's key back")
    return Subjects(key)


def _make(path: Path) -> None:
    """All at once and once only, however many processes start together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(part, path)
        sync_path(path.parent)  # else a power cut could leave lines whose key is gone
    finally:
        Path(part).unlink()
