"""A line of the audit: JSON that ends in the digest of itself, which holds the digest of the line before.

A hash chain after Haber and Stornetta, "How to time-stamp a digital document" (J. Cryptology 3, 1991), section 5.1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_SEAL = b',"digest":"'
_LINE = re.compile(rb'(\{"n":\d+,.+),"digest":"([0-9a-f]{64})"\}')


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain stands: a line's number, from 1 up, and its digest (SHA-256, hex)."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


ORIGIN = Link(0, 64 * "0")
"""What the first line of all follows."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read. `prev` is the digest that it claims to follow, `intact` whether its own digest is right."""

    record: Mapping[str, Any]
    link: Link
    prev: str
    intact: bool


def sealed(record: Mapping[str, Any], after: Link) -> tuple[bytes, Link]:
    """The record as the line that follows `after`, with its end, and where the chain stands then.

    `n`, `prev` and `digest` are the line's own: the record must not have them.
    """
    body = orjson.dumps({"n": after.number + 1} | dict(record) | {"prev": after.digest})
    digest = hashlib.sha256(body).hexdigest()
    return body[:-1] + _SEAL + digest.encode() + b'"}\n', Link(after.number + 1, digest)


def parsed(text: bytes) -> Line | None:
    """A line without its end; None for what is none, such as the beginning of one."""
    found = _LINE.fullmatch(text)
    if found is None:
        return None
    body, digest = found[1] + b"}", found[2].decode()
    try:
        record = orjson.loads(body)
        number, prev = record["n"], record["prev"]
    except (orjson.JSONDecodeError, KeyError):
        return None
    if type(number) is not int or number < 1:  # `n` may stand there twice
        return None
    intact = hashlib.sha256(body).hexdigest() == digest
    return Line(record, Link(number, digest), str(prev), intact)


def last_link(text: bytes) -> Link | None:
    """The last whole line's in a piece of a file, None if there is none."""
    for each in reversed(text.split(b"\n")):
        line = parsed(each)
        if line is not None:
            return line.link
    return None
