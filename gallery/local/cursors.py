"""Where a page ended, as text a client hands back: opaque, and without a name in it, for URLs end up in logs."""

from __future__ import annotations

import base64
import re

from gallery.types import InvalidCursorError

_KEY = re.compile(rb"k([0-9]{1,18})")


def encode(key: int) -> str:
    return base64.urlsafe_b64encode(b"k%d" % key).decode().rstrip("=")


def decode(cursor: str | None) -> int:
    """The key a page ended with, 0 for None; raises InvalidCursorError."""
    if cursor is None:
        return 0
    try:
        found = _KEY.fullmatch(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except ValueError:
        found = None
    if found is None:
        raise InvalidCursorError(f"cursor {cursor[:40]!r} is none of ours; begin again without one")
    return int(found[1])
