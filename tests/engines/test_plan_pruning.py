"""Clearing the folder of plans: what is unwanted goes, what ended builds left goes, a running build is left alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import pytest

from engines.plan_pruning import Removed, prune
from engines.plans import Plan, PlanKey, PlanStore, Profile

KEY = PlanKey("ab" * 32, "8.6.1", "NVIDIA H200", "9.0", "fp16", Profile(1, 8, 32))
OTHER = replace(KEY, precision="fp32")
NEEDS_FLOCK = pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
StartWorker = Callable[..., Popen[str]]


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    """Two plans and a timing cache."""
    store = PlanStore(tmp_path)
    for key, label in ((KEY, "tiny 640x640"), (OTHER, "tiny 192x192")):
        with store.building(key):
            store.add(key, label, b"a plan", {})
    store.save_timing_cache(KEY, b"learned")
    return store


def files(store: PlanStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()}


def kept(store: PlanStore, *, dry_run: bool = False) -> list[Removed]:
    """Prunes with no reason against anything."""
    return prune(store, lambda plan: "", lambda name: "", dry_run=dry_run)


def test_without_a_reason_all_stays(store: PlanStore) -> None:
    before = files(store)
    assert kept(store) == []
    assert files(store) == before
    assert kept(PlanStore(store.folder / "nowhere")) == []
    assert files(store) == before


def test_what_there_is_a_reason_against_goes(store: PlanStore) -> None:
    def reason(plan: Plan) -> str:
        return "too wide" if plan.key == OTHER else ""

    (unwanted,) = [plan for plan in store.list() if plan.key == OTHER]
    before = files(store)
    (told,) = prune(store, reason, lambda name: "", dry_run=True)
    assert files(store) == before
    (gone,) = prune(store, reason, lambda name: "")
    assert told == gone
    assert (gone.label, gone.why, gone.size_bytes) == ("tiny 192x192", "too wide", 6)
    assert set(gone.files) == {unwanted.path, store.folder / f"{OTHER.name}.json"}
    assert before - files(store) == {path.name for path in gone.files}


def test_a_timing_cache_goes_by_its_name(store: PlanStore) -> None:
    (gone,) = prune(store, lambda plan: "", lambda name: "foreign" if name == KEY.machine.timing_cache_name else "")
    assert (gone.why, gone.size_bytes) == ("foreign", 7)
    assert store.timing_cache(KEY) == b""
    assert len(store.list()) == 2


def test_a_damaged_description_goes_with_its_bytes(store: PlanStore) -> None:
    broken = store.folder / f"{KEY.name}.json"
    (data,) = store.folder.glob(f"{KEY.name}.*.plan")
    broken.write_text("{")
    gone = kept(store)
    assert {path for each in gone for path in each.files} == {broken, data}
    assert "is damaged" in gone[0].why
    assert [plan.key for plan in store.list()] == [OTHER]


@NEEDS_FLOCK
@pytest.mark.parametrize("deed", ["die0", "die1"])
def test_what_a_killed_build_left_goes(store: PlanStore, plan_worker: StartWorker, deed: str) -> None:
    before = files(store)
    assert plan_worker(store.folder, deed).wait() == -9
    left = files(store) - before
    assert left
    told = kept(store, dry_run=True)
    assert files(store) == before | left
    gone = kept(store)
    assert {path.name for each in gone for path in each.files} == left
    assert gone == told
    assert files(store) == before


@NEEDS_FLOCK
def test_what_a_running_build_writes_stays(store: PlanStore) -> None:
    with store.building(KEY):
        part, orphan = (store.folder / f"{KEY.name}.{end}" for end in ("0123.part", "4567.plan"))
        part.touch()
        orphan.touch()
        before = files(store)
        for dry_run in (True, False):
            assert prune(store, lambda plan: "x" if plan.key == KEY else "", lambda name: "", dry_run=dry_run) == []
        assert files(store) == before
    assert {path for each in kept(store) for path in each.files} == {part, orphan}


def test_files_of_others_stay(store: PlanStore) -> None:
    (store.folder / "README.txt").touch()
    prune(store, lambda plan: "x", lambda name: "x")
    assert files(store) == {"README.txt"}
