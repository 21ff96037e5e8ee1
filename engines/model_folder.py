"""How a model's folder appears and goes: all at once, whoever reads meanwhile and whatever is killed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from engines.base import ModelError
from engines.file_lock import file_lock

WORK = ".importing-"
"""What the names of folders begin with in which a model is made or taken apart; no model's name does."""
LOCK = ".lock"


@contextmanager
def appearing(target: Path, *, replace: bool) -> Iterator[Path]:
    """An empty folder that becomes `target` when the block ends; nothing of it if it raises.

    Raises ModelError where something is at `target` and not to be replaced.
    """
    with _work_beside(target) as work:
        fresh = work / "new"
        fresh.mkdir()
        yield fresh
        with _alone(target.parent):
            _move_into_place(fresh, target, work / "old", replace=replace)


def remove(target: Path) -> None:
    """Takes the folder `target` away: for readers at once, whatever its size. Raises OSError where it cannot."""
    with _work_beside(target) as work, _alone(target.parent):
        target.rename(work / "old")


@contextmanager
def _work_beside(target: Path) -> Iterator[Path]:
    """A folder to work in, gone at the end; those that were left by processes that were killed go too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _alone(target.parent):
            _clear_leftovers(target.parent)
            work = Path(tempfile.mkdtemp(prefix=WORK, dir=target.parent))
            stack.enter_context(file_lock(work / LOCK))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        yield work


def _alone(parent: Path) -> AbstractContextManager[bool]:
    """No other folder appears or goes in `parent` meanwhile."""
    return file_lock(parent / LOCK)


def _clear_leftovers(parent: Path) -> None:
    if sys.platform == "win32":
        return  # without flock the living cannot be told from the dead
    for left in parent.glob(f"{WORK}*"):
        with suppress(FileNotFoundError), file_lock(left / LOCK, wait=False) as abandoned:
            if abandoned:
                shutil.rmtree(left, ignore_errors=True)


def _move_into_place(fresh: Path, target: Path, aside: Path, *, replace: bool) -> None:
    if replace and target.exists():
        target.rename(aside)
    try:
        fresh.rename(target)
    except OSError as error:
        if aside.exists():
            aside.rename(target)
        raise ModelError(f"cannot put the model at {target}: {error.strerror}") from error
