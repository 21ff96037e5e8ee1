"""Which plans are of use here: by the models at hand, and by this machine's TensorRT and GPUs where it has any."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.stale_plans import Here, clear, look
from engines.base import RuntimeMissingError
from engines.models import SHIPPED, ModelStore
from engines.plans import Machine, Plan, PlanKey, PlanStore, Profile, graph_sha256

KEY = PlanKey("ab" * 32, "8.6.1", "NVIDIA H200", "9.0", "fp16", Profile(1, 8, 32))
GONE = replace(KEY, graph_sha256="cd" * 32)
ELSEWHERE = replace(KEY, gpu="NVIDIA A100", capability="8.0")
EARLIER = replace(KEY, tensorrt="8.5.3")
HERE = Here(frozenset({KEY.graph_sha256}), frozenset({KEY.machine, replace(KEY.machine, gpu="NVIDIA H100")}))
ANYWHERE = replace(HERE, machines=None)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    """A plan of use here and three of none, each with its machine's timing cache."""
    store = PlanStore(tmp_path)
    for label, key in {"good": KEY, "gone": GONE, "elsewhere": ELSEWHERE, "earlier": EARLIER}.items():
        with store.building(key):
            store.add(key, label, b"a plan", {})
        store.save_timing_cache(key, b"learned")
    return store


def plans(store: PlanStore) -> list[str]:
    return [plan.label for plan in store.list()]


def called(store: PlanStore, label: str) -> Plan:
    return next(plan for plan in store.list() if plan.label == label)


def test_what_is_of_no_use_here_goes_with_the_reason(store: PlanStore) -> None:
    reasons = {gone.label: gone.why for gone in clear(store, HERE) if gone.label}
    assert plans(store) == ["good"]
    assert "model store" in reasons["gone"]
    assert "NVIDIA A100 (8.0), here is TensorRT 8.6.1 on NVIDIA H100 (9.0) and TensorRT" in reasons["elsewhere"]
    assert "TensorRT 8.5.3" in reasons["earlier"]
    assert store.timing_cache(KEY) == b"learned"
    assert store.timing_cache(ELSEWHERE) == store.timing_cache(EARLIER) == b""


def test_where_there_is_no_gpu_plans_for_any_are_kept(store: PlanStore) -> None:
    assert [gone.label for gone in clear(store, ANYWHERE)] == ["gone"]
    assert plans(store) == ["earlier", "elsewhere", "good"]
    assert store.timing_cache(ELSEWHERE) == b"learned"


def test_everything_goes_when_asked(store: PlanStore) -> None:
    told = clear(store, HERE, everything=True, dry_run=True)
    assert len(plans(store)) == 4
    assert clear(store, HERE, everything=True) == told
    assert list(store.folder.iterdir()) == []


def test_usable_is_unknown_without_a_gpu(store: PlanStore) -> None:
    good, gone, elsewhere = (called(store, label) for label in ("good", "gone", "elsewhere"))
    assert [HERE.usable(plan) for plan in (good, gone, elsewhere)] == [True, False, False]
    assert [ANYWHERE.usable(plan) for plan in (good, gone, elsewhere)] == [None, False, None]


def install(monkeypatch: pytest.MonkeyPatch, *gpus: str) -> None:
    """A TensorRT 8.6.1 with such GPUs, for as long as the test runs."""
    found = [SimpleNamespace(name=name, capability="9.0") for name in gpus]
    monkeypatch.setitem(sys.modules, "engines.tensorrt", SimpleNamespace(version=lambda: "8.6.1"))
    monkeypatch.setitem(sys.modules, "engines.cuda", SimpleNamespace(gpus=lambda: found))


def test_looking_finds_the_models_and_each_kind_of_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "NVIDIA H200", "NVIDIA H200", "NVIDIA H100")
    here = look(ModelStore(SHIPPED))
    assert here.graphs == {graph_sha256(path) for path in SHIPPED.glob("*/*.onnx")}
    assert here.machines == frozenset({Machine("8.6.1", "NVIDIA H200", "9.0"), Machine("8.6.1", "NVIDIA H100", "9.0")})


def test_looking_without_a_gpu_or_tensorrt_finds_no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert look(ModelStore(SHIPPED)).machines is None
    install(monkeypatch, "NVIDIA H200")
    monkeypatch.setitem(sys.modules, "engines.tensorrt", None)
    assert look(ModelStore(SHIPPED)).machines is None

    def missing() -> str:
        raise RuntimeMissingError("no TensorRT")

    monkeypatch.setitem(sys.modules, "engines.tensorrt", SimpleNamespace(version=missing))
    assert look(ModelStore(SHIPPED)).machines is None
