"""Clearing the plans' folder: plans that nobody can use any more, and what builds that were ended left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engines.file_lock import file_lock, is_locked
from engines.plans import DATA, DESCRIPTION, LOCK, PART, TIMING_CACHE, Plan, PlanStore


@dataclass(frozen=True, slots=True)
class Removed:
    """Files that `prune` removed, or would, and why; `label` is empty where they were no plan."""

    files: tuple[Path, ...]
    label: str
    why: str
    size_bytes: int


def prune(
    store: PlanStore, why: Callable[[Plan], str], why_timing_cache: Callable[[str], str], *, dry_run: bool = False
) -> list[Removed]:
    """Removes the plans and timing caches against which there is a reason, and leftovers; says what and why.

    `why(plan)` and `why_timing_cache(name)` (see Machine.timing_cache_name) give the reason, or nothing to keep it.
    What a running build writes is left alone. With `dry_run` all is left, and it says what would be removed.
    """
    found = [*_unwanted(store, why), *_unwanted_caches(store, why_timing_cache), *_leftovers(store)]
    if dry_run:
        return [each for each in found if not is_locked(_lock_of(each.files[0]))]
    return [each for each in found if _remove(store, each)]


def _unwanted(store: PlanStore, why: Callable[[Plan], str]) -> Iterator[Removed]:
    for plan in store.list():
        if reason := why(plan):
            # The description goes first: from then on nothing counts as a plan.
            yield Removed((_description_of(plan), plan.path), plan.label, reason, plan.size_bytes)


def _unwanted_caches(store: PlanStore, why: Callable[[str], str]) -> Iterator[Removed]:
    for path in sorted(store.folder.glob("*" + TIMING_CACHE)):
        if reason := why(path.stem):
            yield Removed((path,), "", reason, _size(path))


def _leftovers(store: PlanStore) -> Iterator[Removed]:
    for path, wrong in store.damaged().items():
        yield Removed((path,), "", wrong, _size(path))
    for ending in (DATA, PART, LOCK):
        for path in sorted(store.folder.glob("*" + ending)):
            if not _is_of_a_plan(store, path):
                yield Removed((path,), "", "left behind by a build that was ended", _size(path))


def _remove(store: PlanStore, entry: Removed) -> bool:
    with file_lock(_lock_of(entry.files[0]), wait=False) as held:
        # A build may have begun and ended since this file was seen: it is looked at again, now that none can run.
        if not held or (not entry.label and _is_of_a_plan(store, entry.files[0])):
            return False
        for path in entry.files:
            path.unlink(missing_ok=True)
    return True


def _is_of_a_plan(store: PlanStore, path: Path) -> bool:
    return any(path in (plan.path, _description_of(plan)) for plan in store.list())


def _description_of(plan: Plan) -> Path:
    return plan.path.with_name(plan.name + DESCRIPTION)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name.partition(".")[0] + LOCK)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
