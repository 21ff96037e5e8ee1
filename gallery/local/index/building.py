"""Approximate indexes are trained and filled in a thread of their own, while the exact one answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from gallery.local.index.approximate import AT_ONCE, ApproximateIndex, close
from gallery.local.index.proposals import GivenUpError, Proposals, sample_rows
from gallery.local.wishes import Wishes

log = logging.getLogger("faceserve")

_PAGE_ROWS, _STEP_ROWS = 8192, 512


class Improvable(Protocol):
    def improve(self, is_wanted: Callable[[], bool]) -> None:
        """Makes what its index wants made, and has it used."""


def built(
    index: ApproximateIndex, reading: Callable[[], AbstractContextManager[None]], is_wanted: Callable[[], bool]
) -> Proposals:
    """Proposals that lack few of the index's rows, or none; its own that were put aside, or new ones.

    Rows are copied in blocks of `reading`, which must keep the index as it is; everything slow is done outside them.
    Raises GivenUpError soon after `is_wanted` says no.
    """
    with reading():
        draft = index.put_aside()
    if draft is None:
        draft = Proposals(index.recipe, index.dimension)
        with reading():
            sample, rows = index.sample(sample_rows(index.recipe)), len(index)
        draft.train(sample, rows, is_wanted=is_wanted)
    while is_wanted():
        with reading():
            gap = index.gap(draft, _PAGE_ROWS)
        for step in gap.steps(_STEP_ROWS):
            if not is_wanted():
                raise GivenUpError("the gallery was closed")
            close(step, draft)
        if len(gap.faces) <= AT_ONCE:
            return draft
    raise GivenUpError("the gallery was closed")


class Builder:
    """Improves one projection after the other. The thread starts with the first wish, and ends with `close`. Any
    thread may call."""

    def __init__(self) -> None:
        self._wishes = Wishes("indexes", self._improved)

    def wish(self, projection: Improvable) -> None:
        """Has the projection improved soon; once, however often this is called."""
        self._wishes.wish(projection)

    def close(self) -> None:
        """Gives up what is being made, and waits for a step of it at most. May be called twice."""
        self._wishes.close()

    def _improved(self, projection: Improvable) -> bool:
        try:
            projection.improve(self._wishes.is_open)
        except GivenUpError:
            return False
        except Exception:  # the thread goes on for other collections; the exact index answers
            log.exception("an approximate index was not made; searches stay exact")
            return False
        return True
