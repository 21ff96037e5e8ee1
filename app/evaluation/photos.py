"""A photo of an evaluation: what it is called, whom it shows, and where its bytes are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class EvaluationError(Exception):
    """What was given cannot be evaluated; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo. `name` is unique in its evaluation; `person` is None where nobody says whom it shows.

    `source` is a file, or the bytes of one that lay in a pack.
    """

    name: str
    person: str | None
    source: Path | bytes

    def read(self) -> bytes:
        """The bytes of the image file. Raises OSError for a file that cannot be read."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()
