"""What an approximate index's answers lack of the exact ones: counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gallery.local.index.candidates import Hit

_Z = 1.959964  # of the normal distribution, for 95 % on both sides


@dataclass(frozen=True, slots=True)
class Recall:
    """Of `queries`: how often the same identity is first; of the `nearest` identities of all exact answers together,
    how many are `shared`; and of the `named`, whose first is at the threshold or above, how many have the same first
    by the approximate index (`same`). The others are missed: they are answered with somebody less similar, or nobody.
    """

    queries: int
    first: int
    nearest: int
    shared: int
    named: int
    same: int

    @classmethod
    def of(
        cls,
        exact: Sequence[Sequence[Hit]],
        found: Sequence[Sequence[Hit]],
        threshold: float,
    ) -> Recall:
        """From the answers to the same queries, in the same order, both without a threshold."""
        first = nearest = shared = named = same = 0
        for true, other in zip(exact, found, strict=True):
            agrees = [hit.identity for hit in true[:1]] == [hit.identity for hit in other[:1]]
            is_named = bool(true) and true[0].similarity >= threshold
            first += agrees
            named += is_named
            same += is_named and agrees
            nearest += len(true)
            shared += len({hit.identity for hit in true} & {hit.identity for hit in other})
        return cls(len(exact), first, nearest, shared, named, same)

    def told(self) -> dict[str, Any]:
        """Shares beside the counts, 0..1; None of nothing. `found_low` is the least that `found` may be, with 95 %
        confidence on both sides."""
        return {
            "queries": self.queries,
            "recall_at_1": _share(self.first, self.queries),
            "recall_at_k": _share(self.shared, self.nearest),
            "named": self.named,
            "missed": self.named - self.same,
            "found": _share(self.same, self.named),
            "found_low": lowest(self.same, self.named) if self.named else None,
        }


def lowest(count: int, of: int) -> float:
    """The lower end of Wilson's 95 % interval of a share (Wilson 1927, JASA 22); `of` is at least 1."""
    share = count / of
    middle = share + _Z**2 / (2 * of)
    spread = _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    return max(0.0, (middle - spread) / (1 + _Z**2 / of))


def _share(count: int, of: int) -> float | None:
    return count / of if of else None
