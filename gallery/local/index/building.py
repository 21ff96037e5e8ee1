"""Approximate indexes are trained and filled in a thread of their own, while the exact one answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from gallery.local.index.approximate import AT_ONCE, ApproximateIndex, close
from gallery.local.index.proposals import GivenUpError, Proposals, sample_rows

log = logging.getLogger("faceserve")

_PAGE_ROWS, _STEP_ROWS = 8192, 512
_AFTER_FAILURE_S = 60


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
        self._changed = threading.Condition()
        self._wishes = dict[Improvable, None]()
        self._failed: dict[Improvable, float] = {}
        self._closed = False
        self._thread: threading.Thread | None = None

    def wish(self, projection: Improvable) -> None:
        """Has the projection improved soon; once, however often this is called."""
        with self._changed:
            if self._closed or projection in self._wishes or self._failed.get(projection, 0) > time.monotonic():
                return
            self._wishes[projection] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="indexes", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Gives up what is being made, and waits for a step of it at most. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wishes)
                if self._closed:
                    return
                projection = next(iter(self._wishes))
            self._improve(projection)

    def _improve(self, projection: Improvable) -> None:
        done = False
        try:
            projection.improve(lambda: not self._closed)
            done = True
        except GivenUpError:
            pass
        except Exception:  # the thread goes on for other collections; the exact index answers
            log.exception("an approximate index was not made; searches stay exact")
        with self._changed:
            self._wishes.pop(projection, None)
            self._failed.pop(projection, None)
            if not done:
                self._failed[projection] = time.monotonic() + _AFTER_FAILURE_S
