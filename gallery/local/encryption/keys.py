"""Keys as people hand them over: 32 random bytes, written in base64 or in hexadecimal."""

from __future__ import annotations

import base64
import binascii
import secrets

KEY_BYTES = 32
# Of 32 random bytes fewer than 16 are different once in 3 · 10^16 keys: what has fewer is a placeholder.
_LEAST_DIFFERENT = 16


def fresh() -> str:
    """A new random key, in base64."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def parsed(text: str) -> bytes:
    """The key's 32 bytes. Raises ValueError, which does not say what was given."""
    text = text.strip()
    key = _decoded(text)
    if key is None or len(key) != KEY_BYTES:
        raise ValueError(
            f"expected {KEY_BYTES} random bytes in base64 (44 characters) or hexadecimal (64), not {len(text)} "
            "characters of something else: `faceserve gallery key` prints a new one"
        )
    if len(set(key)) < _LEAST_DIFFERENT:
        raise ValueError("these bytes are not random: `faceserve gallery key` prints a key that is")
    return key


def _decoded(text: str) -> bytes | None:
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        standard = text.replace("-", "+").replace("_", "/")
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
