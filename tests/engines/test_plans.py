"""The folder of plans: what is kept is found whole or refused with what to do, whoever dies in between."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from engines.base import PlanError
from engines.plans import PlanKey, PlanStore, Profile, label_of

KEY = PlanKey("ab" * 32, "8.6.1", "NVIDIA H200", "9.0", "fp16", Profile(1, 8, 32))
LABEL = "tiny 640x640"
COMMAND = "faceserve build tiny --precision fp16 --batch 1:8:32"
NEEDS_FLOCK = pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
StartWorker = Callable[..., Popen[str]]


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


def put(store: PlanStore, key: PlanKey = KEY, data: bytes = b"a plan", label: str = LABEL) -> None:
    with store.building(key):
        store.add(key, label, data, {"layers": 7})


def names(store: PlanStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"graph_sha256": "cd" * 32},
        {"tensorrt": "8.6.2"},
        {"gpu": "NVIDIA-H200"},
        {"capability": "9.1"},
        {"precision": "mixed"},
        {"profile": Profile(1, 8, 33)},
    ],
)
def test_every_part_of_the_key_makes_another_plan(store: PlanStore, change: dict[str, Any]) -> None:
    put(store)
    other = replace(KEY, **change)
    assert other.name != KEY.name
    with pytest.raises(PlanError):
        store.find(other, LABEL)


def test_a_plan_is_found_as_it_was_added(store: PlanStore) -> None:
    put(store)
    plan = store.find(KEY, LABEL)
    assert (plan.key, plan.label, plan.size_bytes, plan.facts) == (KEY, LABEL, 6, {"layers": 7})
    assert plan.built.endswith("+00:00")
    assert store.read(plan) == b"a plan"
    assert store.list() == [plan]
    assert names(store) == sorted([f"{KEY.name}.json", plan.path.name])


def test_others_may_read_the_files(store: PlanStore) -> None:
    put(store)
    usual = store.folder / "usual"
    usual.touch()
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()} == {
        stat.S_IMODE(usual.stat().st_mode)
    }


def test_the_description_is_for_everybody(store: PlanStore) -> None:
    put(store)
    described = json.loads((store.folder / f"{KEY.name}.json").read_text("utf-8"))
    assert described["format"] == 1
    assert described["key"] == {
        "graph_sha256": "ab" * 32,
        "tensorrt": "8.6.1",
        "gpu": "NVIDIA H200",
        "capability": "9.0",
        "precision": "fp16",
        "profile": "1:8:32",
    }
    assert {"label", "sha256", "size_bytes", "built", "facts"} < set(described)


def test_a_plan_takes_the_place_of_the_one_before(store: PlanStore) -> None:
    put(store)
    put(store, data=b"a better plan")
    (plan,) = store.list()
    assert store.read(plan) == b"a better plan"
    assert len(names(store)) == 2
    put(store, data=b"a better plan")
    assert store.read(store.find(KEY, LABEL)) == b"a better plan"


def test_more_can_be_noted_later(store: PlanStore) -> None:
    put(store)
    with store.building(KEY):
        noted = store.note(store.find(KEY, LABEL), {"parity": {"cosine": 0.9999}, "layers": 8})
    assert store.find(KEY, LABEL) == noted
    assert noted.facts == {"layers": 8, "parity": {"cosine": 0.9999}}
    assert store.read(noted) == b"a plan"


def test_plans_are_listed_by_label(store: PlanStore) -> None:
    assert store.list() == []
    for number, label in enumerate(["b 1x1", "a 2x2", "a 1x1"]):
        put(store, replace(KEY, graph_sha256=f"{number:064}"), label=label)
    assert [plan.label for plan in store.list()] == ["a 1x1", "a 2x2", "b 1x1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tensorrt": "8.6.0"}, ["built by TensorRT 8.6.0 on NVIDIA H200 (9.0), here is TensorRT 8.6.1 on"]),
        ({"gpu": "NVIDIA A100", "capability": "8.0"}, ["TensorRT 8.6.1 on NVIDIA A100 (8.0), here is", "H200 (9.0)"]),
        ({"precision": "fp32"}, ["is of precision fp32, not fp16"]),
        ({"profile": Profile(1, 1, 1)}, ["takes batches 1:1:1, not 1:8:32"]),
        ({"precision": "fp32", "profile": Profile(1, 1, 1)}, ["precision fp32, not fp16 and takes batches 1:1:1"]),
        ({"graph_sha256": "cd" * 32}, ["is stale, the model changed since"]),
    ],
)
def test_another_plan_is_refused_with_the_difference_and_the_command(
    store: PlanStore, change: dict[str, Any], words: list[str]
) -> None:
    put(store, replace(KEY, **change))
    with pytest.raises(PlanError) as refusal:
        store.find(KEY, LABEL)
    for word in [*words, LABEL, str(store.folder), f"`{COMMAND}`"]:
        assert word in str(refusal.value)


def test_without_any_plan_the_command_is_told(store: PlanStore) -> None:
    with pytest.raises(PlanError, match=f"has no plan of {LABEL}: build it with `{COMMAND}`"):
        store.find(KEY, LABEL)
    put(store, replace(KEY, graph_sha256="cd" * 32), label="other 640x640")
    with pytest.raises(PlanError, match="has no plan of tiny"):
        store.find(KEY, LABEL)
    with pytest.raises(PlanError, match=r"faceserve build 'tiny;ls' --precision"):
        store.find(KEY, "tiny;ls 1x1")


def test_the_nearest_plan_is_told_of(store: PlanStore) -> None:
    put(store, replace(KEY, graph_sha256="cd" * 32))
    put(store, replace(KEY, tensorrt="10.1", precision="fp32"))
    put(store, replace(KEY, precision="mixed"))
    with pytest.raises(PlanError, match="is of precision mixed, not fp16: build"):
        store.find(KEY, LABEL)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, Path.unlink])
def test_damaged_bytes_are_refused(store: PlanStore, damage: Callable[[Path], None]) -> None:
    put(store)
    plan = store.find(KEY, LABEL)
    damage(plan.path)
    for check in (store.read, store.verify):
        with pytest.raises(PlanError) as refusal:
            check(plan)
        assert str(plan.path) in str(refusal.value)
        assert COMMAND in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 0},
        {"sha256": "../../etc/passwd"},
        {"sha256": 5},
        {"key": None},
        {"key": KEY.as_dict() | {"profile": "8"}},
        {"key": KEY.as_dict() | {"gpu": 5}},
        {"key": KEY.as_dict() | {"precision": "int8"}},
        {"key": KEY.as_dict() | {"tensorrt": "8.6.2"}},
        {"label": None},
        {"facts": []},
        {"surprise": 1},
    ],
)
def test_a_damaged_description_is_no_plan(store: PlanStore, changes: dict[str, Any]) -> None:
    put(store)
    path = store.folder / f"{KEY.name}.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    assert store.list() == []
    assert list(store.damaged()) == [path]
    with pytest.raises(PlanError) as refusal:
        store.find(KEY, LABEL)
    assert str(path) in str(refusal.value)
    assert COMMAND in str(refusal.value)
    put(store)
    assert store.damaged() == {}
    assert store.read(store.find(KEY, LABEL)) == b"a plan"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"format": 1}'])
def test_a_description_that_is_none_is_no_plan(store: PlanStore, content: bytes) -> None:
    put(store)
    (store.folder / f"{KEY.name}.json").write_bytes(content)
    assert store.list() == []
    with pytest.raises(PlanError, match="build it anew"):
        store.find(KEY, LABEL)


def test_a_timing_cache_is_kept_for_the_machine_whatever_the_plan(store: PlanStore) -> None:
    assert store.timing_cache(KEY) == b""
    store.save_timing_cache(KEY, b"first")
    store.save_timing_cache(KEY, b"learned")
    same = replace(KEY, graph_sha256="cd" * 32, precision="fp32", profile=Profile(1, 1, 1))
    assert store.timing_cache(same) == b"learned"
    for elsewhere in (replace(KEY, tensorrt="8.6.0"), replace(KEY, gpu="NVIDIA H100"), replace(KEY, capability="9")):
        assert store.timing_cache(elsewhere) == b""
    assert names(store) == [f"{KEY.machine.timing_cache_name}.cache"]


def test_a_label_is_told_by_where_the_graph_lies() -> None:
    assert label_of(Path("models/retinaface_mnet025/640x640.onnx")) == "retinaface_mnet025 640x640"


@NEEDS_FLOCK
def test_of_two_processes_one_builds_and_the_other_finds(store: PlanStore, plan_worker: StartWorker) -> None:
    one = plan_worker(store.folder, "build")
    assert one.stdout
    assert one.stdin
    assert [one.stdout.readline() for _ in range(2)] == ["waiting\n", "building\n"]
    other = plan_worker(store.folder, "build")
    assert other.stdout
    assert other.stdout.readline() == "waiting\n"
    one.stdin.write("enough\n")
    one.stdin.flush()
    assert other.stdout.readline() == "found\n"
    assert (one.wait(), other.wait()) == (0, 0)
    assert store.read(store.find(KEY, LABEL)) == b"made by process %d" % one.pid
    assert len(names(store)) == 2


@NEEDS_FLOCK
def test_who_waits_for_a_build_that_is_killed_builds(store: PlanStore, plan_worker: StartWorker) -> None:
    one = plan_worker(store.folder, "build")
    assert one.stdout
    assert [one.stdout.readline() for _ in range(2)] == ["waiting\n", "building\n"]
    other = plan_worker(store.folder, "build")
    one.kill()
    out, _ = other.communicate("enough\n")
    assert out.splitlines() == ["waiting", "building"]
    assert store.read(store.find(KEY, LABEL)) == b"made by process %d" % other.pid


@NEEDS_FLOCK
@pytest.mark.parametrize("deed", ["die0", "die1"])
def test_killed_in_the_middle_nothing_of_it_counts(store: PlanStore, plan_worker: StartWorker, deed: str) -> None:
    assert plan_worker(store.folder, deed).wait() == -9
    assert names(store) != []
    assert store.list() == []
    assert store.damaged() == {}
    with pytest.raises(PlanError, match="has no plan"):
        store.find(KEY, LABEL)


@NEEDS_FLOCK
@pytest.mark.parametrize("deed", ["die0", "die1"])
def test_killed_in_the_middle_the_plan_before_still_counts(
    store: PlanStore, plan_worker: StartWorker, deed: str
) -> None:
    put(store)
    assert plan_worker(store.folder, deed).wait() == -9
    assert store.read(store.find(KEY, LABEL)) == b"a plan"
