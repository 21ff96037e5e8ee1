"""`faceserve build` and `faceserve plans`, on a machine without TensorRT."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.models import SHIPPED
from engines.plans import Plan, PlanKey, PlanStore, Profile, graph_sha256

Faceserve = Callable[..., Any]
DETECTOR = SHIPPED / "retinaface_mnet025" / "640x640.onnx"
KEY = PlanKey(graph_sha256(DETECTOR), "8.6.1", "NVIDIA H200", "9.0", "fp16", Profile(1, 8, 32))
GONE = replace(KEY, graph_sha256="ab" * 32)


@pytest.fixture(autouse=True)
def _no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engines.tensorrt", None)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    """A plan of a shipped network and one of a network that nobody has."""
    store = PlanStore(tmp_path / "data" / "plans")
    for key, label in ((KEY, "retinaface_mnet025 640x640"), (GONE, "old 112x112")):
        with store.building(key):
            store.add(key, label, b"a plan", {"build_seconds": 12.3, "parity": None})
    return store


def plan_of(store: PlanStore, key: PlanKey) -> Plan:
    return store.find(key, "")


def test_build_names_the_extra(faceserve: Faceserve, tmp_path: Path) -> None:
    done = faceserve("build", "retinaface_mnet025")
    assert (done.code, done.out) == (1, "")
    assert "faceserve[tensorrt]" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "data" / "plans").exists()


def test_build_refuses_an_unknown_model(faceserve: Faceserve) -> None:
    done = faceserve("build", "facenet")
    assert (done.code, done.out) == (1, "")
    assert "mobilefacenet_256" in done.err


@pytest.mark.parametrize(
    "flags",
    [
        ("--size", "640"),
        ("--size", "640x640", "--size", "320x320"),
        ("--batch", "8"),
        ("--batch", "8:1:32"),
        ("--precision", "int8"),
        ("--opt-level", "6"),
        ("--workspace", "0"),
    ],
)
def test_build_refuses_flags_that_make_no_sense(faceserve: Faceserve, flags: tuple[str, ...]) -> None:
    done = faceserve("build", "retinaface_mnet025", *flags)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def test_list(faceserve: Faceserve, store: PlanStore) -> None:
    done = faceserve("plans", "list")
    assert (done.code, done.err) == (0, "")
    old, detector = done.lines
    assert (old["label"], old["usable"]) == ("old 112x112", False)
    assert detector.pop("built_at")
    assert detector == {
        "name": KEY.name,
        "label": "retinaface_mnet025 640x640",
        "precision": "fp16",
        "profile": "1:8:32",
        "tensorrt": "8.6.1",
        "gpu": "NVIDIA H200",
        "capability": "9.0",
        "size_bytes": 6,
        "build_seconds": 12.3,
        "parity": None,
        "usable": None,
    }


def test_without_plans_there_is_nothing_to_tell_and_nothing_is_made(faceserve: Faceserve, tmp_path: Path) -> None:
    for command in ("list", "verify", "prune"):
        done = faceserve("plans", command)
        assert (done.code, done.out) == (0, "")
    assert not (tmp_path / "data").exists()


def test_the_folder_may_be_elsewhere(
    faceserve: Faceserve, store: PlanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = store.folder.rename(tmp_path / "moved")
    assert faceserve("plans", "list").lines == []
    monkeypatch.setenv("FACESERVE_PLANS_DIR", str(moved))
    assert len(faceserve("plans", "list").lines) == 2


def test_verify(faceserve: Faceserve, store: PlanStore) -> None:
    done = faceserve("plans", "verify")
    assert (done.code, done.err) == (0, "")
    assert [(line["label"], line["verified"]) for line in done.lines] == [
        ("old 112x112", True),
        ("retinaface_mnet025 640x640", True),
    ]
    for name in ("old", "old 112x112", GONE.name):
        assert [line["name"] for line in faceserve("plans", "verify", name).lines] == [GONE.name]


def test_verify_tells_of_each_that_is_damaged(faceserve: Faceserve, store: PlanStore) -> None:
    plan_of(store, KEY).path.write_bytes(b"b plan")
    done = faceserve("plans", "verify")
    assert done.code == 1
    assert [line["label"] for line in done.lines] == ["old 112x112"]
    assert "faceserve build retinaface_mnet025 --precision fp16 --batch 1:8:32" in done.err
    (store.folder / f"{GONE.name}.json").write_text("{}")
    done = faceserve("plans", "verify")
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 2
    assert f"{GONE.name}.json is damaged" in faceserve("plans", "list").err


def test_verify_refuses_an_unknown_name(faceserve: Faceserve, store: PlanStore) -> None:
    done = faceserve("plans", "verify", "old", "facenet")
    assert (done.code, done.out) == (1, "")
    assert "'facenet'" in done.err
    assert "old 112x112" in done.err


def test_prune(faceserve: Faceserve, store: PlanStore) -> None:
    leftover = store.folder / f"{KEY.name}.0123.part"
    leftover.touch()
    old = plan_of(store, GONE)
    told = faceserve("plans", "prune", "--dry-run")
    assert told.code == 0
    assert [line["removed"] for line in told.lines] == [False, False]
    assert len(store.list()) == 2
    done = faceserve("plans", "prune")
    assert "kept whatever GPU" in done.err
    first, second = done.lines
    assert (first["removed"], first["label"], first["size_bytes"]) == (True, "old 112x112", 6)
    assert str(old.path) in first["files"]
    assert (second["label"], second["files"]) == (None, [str(leftover)])
    assert [plan.key for plan in store.list()] == [KEY]
    assert faceserve("plans", "prune").lines == []


def test_prune_all(faceserve: Faceserve, store: PlanStore) -> None:
    store.save_timing_cache(KEY, b"learned")
    done = faceserve("plans", "prune", "--all")
    assert (done.code, done.err, len(done.lines)) == (0, "", 3)
    assert list(store.folder.iterdir()) == []
