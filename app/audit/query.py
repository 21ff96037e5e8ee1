"""Questions to the audit: which lines tell of somebody, a deed, a time, a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.audit.line import parsed
from app.audit.trail import files_of

WHOLE = frozenset({"create_collection", "erase_collection", "import", "export", "reembed"})
"""Deeds that concern everybody in a collection and name nobody."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a line must be to be an answer; None asks nothing. `since` is included, `until` is not.

    With a `subject`, the digest of an identity, and its `collection`, deeds on all of that are answers too.
    """

    subject: str | None = None
    collection: str | None = None
    deed: str | None = None
    who: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, record: Mapping[str, Any]) -> bool:
        asked = ("collection", self.collection), ("deed", self.deed), ("who", self.who)
        if any(wanted is not None and record.get(name) != wanted for name, wanted in asked):
            return False
        whole = self.collection is not None and record.get("deed") in WHOLE
        if self.subject is not None and not whole and self.subject not in record.get("subjects", ()):
            return False
        at = datetime.fromisoformat(record["at"])
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def answers(folder: Path, question: Question) -> Iterator[Mapping[str, Any]]:
    """The records that fit, in the order of their numbers, with their number `n`; what is no line is passed over."""
    for path in files_of(folder):
        with path.open("rb") as file:
            for text in file:
                line = parsed(text.removesuffix(b"\n"))
                if line is not None and question.fits(line.record):
                    yield {name: value for name, value in line.record.items() if name != "prev"}


def keys_used(folder: Path) -> set[str]:
    """The fingerprints of all keys by which the audit's subjects were made."""
    used = set()
    for path in files_of(folder):
        with path.open("rb") as file:
            for text in file:
                line = parsed(text.removesuffix(b"\n"))
                if line is not None and "key" in line.record:
                    used.add(str(line.record["key"]))
    return used
