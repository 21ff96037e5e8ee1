"""The keys that clients send, each with a name by which the audit calls whoever sends it."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

UNNAMED = "default"
"""What the key of FACESERVE_API_KEY is called."""
ANONYMOUS = "anonymous"
"""What everybody is called where no key is asked."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def parse_keys(text: str) -> dict[str, str]:
    """`{"door": "KEY", …}` or `door:KEY,…` as keys by their names. Raises ValueError, which tells no key."""
    if text.lstrip().startswith("{"):
        try:
            pairs = json.loads(text, object_pairs_hook=list)
        except json.JSONDecodeError as error:
            raise ValueError(f"this is no JSON: {error.msg} at character {error.pos}") from None
    else:
        # What has no colon may be a key without a name: it is not taken for a name, which refusals show.
        pairs = [(each.strip().partition(":")[::2] if ":" in each else ("", each)) for each in text.split(",")]
    if not pairs:
        raise ValueError("there is no key in it, which would let anyone in: write NAME:KEY, or leave it unset")
    keys: dict[str, str] = {}
    for place, (name, key) in enumerate(pairs, start=1):
        if not NAME.fullmatch(name):  # it may be a key in the wrong place: it is not shown
            raise ValueError(f"name {place} is not 1 to 64 letters, digits, `.`, `_`, `-`; write NAME:KEY,NAME:KEY")
        if name in keys:
            raise ValueError(f"the name {name} is given twice")
        keys[name] = key
    return keys


def check_keys(keys: Mapping[str, Any]) -> None:
    """Raises ValueError where a key is none, or no client could send it, or is not one client's alone."""
    for name, key in keys.items():
        if name == ANONYMOUS:
            raise ValueError(f"{ANONYMOUS} is what the audit calls those without a key: take another name")
        if not isinstance(key, str) or not key.strip() or key != key.strip():
            raise ValueError(f"{name} has no key: expected text without spaces around it")
        if not key.isprintable():  # a line's end, or what is no Unicode
            raise ValueError(f"{name}'s key has characters that no header can carry: take letters and digits")
    if len(set(keys.values())) < len(keys):
        raise ValueError("two names have the same key, so nobody could tell who sends it")


class Keys:
    """Keys by their names; with none, everybody is let in."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = [(name, key.encode()) for name, key in keys.items()]

    def __bool__(self) -> bool:
        return bool(self._keys)

    def name_of(self, given: bytes) -> str | None:
        """Whose key was given, None if it is nobody's. Takes as long for each: all are compared, in constant time."""
        names = [name for name, key in self._keys if hmac.compare_digest(given, key)]
        return names[0] if names else None
