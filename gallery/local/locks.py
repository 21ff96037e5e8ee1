"""Many readers or one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadWriteLock:
    """Readers share, a writer is alone; a waiting writer goes before new readers. Not reentrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextmanager
    def read(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            self._end_read()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Begins as the only one; `downgrade` inside lets readers in for the rest of the block."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._writing and not self._readers)
            finally:
                self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            self._end_write()

    def downgrade(self) -> None:
        """Turns the writer that calls it into a reader, with no other writer in between."""
        with self._changed:
            self._writing = False
            self._readers += 1
            self._changed.notify_all()

    def _end_read(self) -> None:
        with self._changed:
            self._readers -= 1
            self._changed.notify_all()

    def _end_write(self) -> None:
        with self._changed:
            if self._writing:
                self._writing = False
            else:
                self._readers -= 1
            self._changed.notify_all()
