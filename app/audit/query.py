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
EVERYWHERE = frozenset({"encrypt", "decrypt", "rekey"})
"""Deeds that concern all collections, and name none."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a line must be to be an answer; None asks nothing. `since` is included, `until` is not.

    With a `subject`, the digest of an identity, and its `collection`, deeds on all of that are answers too, and with a
    `collection` those on the whole gallery. A line whose time cannot be told, for somebody edited it, is of any time.
    """

    subject: str | None = None
    collection: str | None = None
    deed: str | None = None
    who: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, record: Mapping[str, Any]) -> bool:
        asked = ("deed", self.deed), ("who", self.who)
        if any(wanted is not None and record.get(name) != wanted for name, wanted in asked):
            return False
        return self._concerns(record) and self._is_within(_time_of(record))

    def _concerns(self, record: Mapping[str, Any]) -> bool:
        if self.collection is not None:
            if record.get("deed") in EVERYWHERE:
                return True
            if record.get("collection") != self.collection:
                return False
            if record.get("deed") in WHOLE:
                return True
        subjects = record.get("subjects")
        return self.subject is None or (isinstance(subjects, list) and self.subject in subjects)

    def _is_within(self, at: datetime | None) -> bool:
        if at is None:
            return True
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def _time_of(record: Mapping[str, Any]) -> datetime | None:
    """With its zone; None where it cannot be told."""
    try:
        at = datetime.fromisoformat(record["at"])
    except (KeyError, TypeError, ValueError):
        return None
    return at if at.tzinfo else None


def answers(folder: Path, question: Question) -> Iterator[Mapping[str, Any]]:
    """The records that fit, in the order of their numbers, with their number `n`; what is no line is passed over.

    One whose own digest is wrong says that it was `edited`; where the chain breaks, `verify` tells.
    """
    for path in files_of(folder):
        with path.open("rb") as file:
            for text in file:
                line = parsed(text.removesuffix(b"\n"))
                if line is not None and question.fits(line.record):
                    shown = {name: value for name, value in line.record.items() if name != "prev"}
                    yield shown if line.intact else shown | {"edited": True}


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
