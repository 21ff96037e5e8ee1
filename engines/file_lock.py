"""A lock in the form of a file: one holder among all threads and processes, gone with its holder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether this block holds the lock `path`, as it always does when it was ready to wait. Not reentrant.

    The system lets go of the lock when its holder ends, however that happens; the file is removed at the block's end,
    and whoever kills the holder leaves it behind, empty and free. Without `flock`, on Windows, every block holds it.
    """
    if sys.platform == "win32":
        yield True
        return
    handle = _take(path, wait=wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            # While it is still held: who waits on this file finds it gone, and takes the next one.
            path.unlink(missing_ok=True)
            handle.close()


def _take(path: Path, *, wait: bool) -> BinaryIO | None:
    while True:
        # Each its own open file: that, not the process, is what holds a flock, so that threads are kept apart too.
        handle = path.open("ab")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(handle, path):
                return handle
        except BlockingIOError:
            handle.close()
            return None
        except BaseException:
            handle.close()
            raise
        handle.close()


def _is_at(handle: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Whether another block holds the lock `path` now. Writes nothing."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
