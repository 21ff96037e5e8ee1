"""What may come in: the checks at the gallery's edge. Behind it, names and embeddings are trusted."""

from __future__ import annotations

import math
import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from gallery.types import InvalidEmbeddingError, InvalidNameError

MAX_NAME_CHARACTERS = 200
UNIT_TOLERANCE = 1e-3
LAST_MOMENT = 253_402_300_799.0
"""9999-12-31T23:59:59Z, the last that a date can say."""
_COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_identity(name: str) -> str:
    """The name in Unicode's composed form (NFC), so that one spelling is one person; raises InvalidNameError."""
    if not name.isprintable():
        raise InvalidNameError(f"identity {name[:40]!r} has characters that cannot be printed; remove them")
    composed = unicodedata.normalize("NFC", name)
    if not 1 <= len(composed) <= MAX_NAME_CHARACTERS:
        raise InvalidNameError(f"an identity has 1 to {MAX_NAME_CHARACTERS} characters, not {len(composed)}")
    if composed != composed.strip():
        raise InvalidNameError(f"identity {composed!r} begins or ends with a space; remove it")
    if "/" in composed or composed in {".", ".."}:
        raise InvalidNameError(
            f"identity {composed!r} reads like a path; an identity has no '/' and is not '.' or '..'"
        )
    return composed


def check_collection(name: str) -> str:
    """The name itself; raises InvalidNameError."""
    if not _COLLECTION.fullmatch(name):
        raise InvalidNameError(
            f"collection {name[:80]!r}: expected 1 to 64 letters, digits, '_', '.' or '-', the first a letter or digit"
        )
    return name


def check_moment(expires_at: float | None) -> float | None:
    """Itself: seconds since 1970-01-01T00:00Z up to LAST_MOMENT, infinity for never, or None; raises ValueError."""
    if expires_at is not None and not (0 <= expires_at <= LAST_MOMENT or expires_at == math.inf):
        raise ValueError(f"expires_at is {expires_at}, expected seconds since 1970 up to the year 9999, or infinity")
    return expires_at


def check_embeddings(embeddings: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """(n, dimension) float32 rows of unit length, contiguous; raises InvalidEmbeddingError.

    FAISS itself would take float64, NaN or unnormalised rows without a word and answer nonsense.
    """
    if embeddings.dtype != np.float32:
        raise InvalidEmbeddingError(f"embeddings are {embeddings.dtype}, expected float32")
    if embeddings.ndim != 2 or embeddings.shape[1] != dimension:
        raise InvalidEmbeddingError(f"embeddings have shape {embeddings.shape}, expected (n, {dimension})")
    lengths = np.linalg.norm(embeddings, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))
    if wrong.size:
        row = int(wrong[0])
        raise InvalidEmbeddingError(
            f"embedding {row} has length {lengths[row]:.4g}, expected 1 ± {UNIT_TOLERANCE}: divide it by its length"
        )
    return np.ascontiguousarray(embeddings)
