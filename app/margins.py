"""Whether the best is far enough ahead of the second to be named."""

from __future__ import annotations

from dataclasses import dataclass

from gallery.types import Match


@dataclass(frozen=True, slots=True)
class Candidates:
    """Whom a face could be: `matches` above the line, best first.

    Where a `min_margin` was asked for, `margin` is how far the second identity is behind the best, be it below the
    line (None for nobody, or no second), and `ambiguous` says that this is less than was asked.
    """

    matches: list[Match]
    margin: float | None = None
    ambiguous: bool = False

    @property
    def named(self) -> Match | None:
        """Whose name the face is given."""
        return self.matches[0] if self.matches and not self.ambiguous else None


def weighed(found: list[Match], line: float, top_k: int, least: float) -> Candidates:
    """The candidates among the identities `found`, best first: the best two of all or more, wherever the line is."""
    matches = [match for match in found if match.similarity >= line][:top_k]
    margin = found[0].similarity - found[1].similarity if matches and len(found) > 1 else None
    return Candidates(matches, margin, ambiguous=margin is not None and margin < least)
