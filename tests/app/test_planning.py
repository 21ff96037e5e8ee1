"""Plans are built once and found from then on. The builder and the GPU are stand-ins; all between them is real."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.planning import Ensured, Planner, ensure_plans, plans_folder
from app.settings import Settings
from engines.base import DeviceMemoryError, ModelError, RuntimeMissingError, Tensors
from engines.build import BuildOptions, Built
from engines.load import LoadOptions
from engines.models import SHIPPED
from engines.onnxruntime import OnnxRuntimeEngine
from engines.plans import PlanKey, PlanStore, Profile, graph_sha256, label_of

EMBEDDER = SHIPPED / "mobilefacenet_256" / "112x112.onnx"
LABEL = label_of(EMBEDDER)


class Workshop:
    """Stands in for TensorRT: its builds come out at once, its engines are ONNX Runtime's."""

    def __init__(self) -> None:
        self.builds: list[dict[str, Any]] = []
        self.open_engine: Callable[[Path, LoadOptions], Any] = lambda path, options: OnnxRuntimeEngine(path)

    def key_of(self, path: Path, options: LoadOptions) -> PlanKey:
        return PlanKey(graph_sha256(path), "8.6.1", "NVIDIA H200", "9.0", options.precision, options.profile)

    def build_plan(
        self, model: Path, options: BuildOptions, *, device: str, timing_cache: bytes, on_progress: Any
    ) -> Built:
        self.builds.append({"model": model, "options": options, "device": device, "timing_cache": timing_cache})
        on_progress("building", 0.5)
        return Built(
            plan=b"plan %d" % len(self.builds),
            timing_cache=timing_cache + b"+",
            layers=70,
            context_bytes=1000,
            held_layers=7,
            seconds=12.345,
        )


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    workshop = Workshop()
    monkeypatch.setitem(sys.modules, "engines.tensorrt", workshop)
    monkeypatch.setattr("engines.build.build_plan", workshop.build_plan)
    return workshop


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A network outside any model store: quick, as there is nothing to compare it on."""
    return Path(shutil.copy(EMBEDDER, tmp_path / "net.onnx"))


def ensure(store: PlanStore, path: Path, *, force: bool = False, **options: Any) -> Ensured:
    return Planner(store, BuildOptions(), **options).ensure(label_of(path), path, force=force)


def test_a_plan_is_built_once_and_says_what_it_is_worth(workshop: Workshop, store: PlanStore) -> None:
    options = BuildOptions(precision="mixed", profile=Profile(1, 1, 4), workspace_bytes=1 << 20, level=2)
    heard: list[tuple[str, float]] = []
    planner = Planner(store, options, "cuda:3", on_progress=lambda doing, done: heard.append((doing, done)))
    first, second = (planner.ensure(LABEL, EMBEDDER) for _ in range(2))
    assert (first.built, second.built, first.plan) == (True, False, second.plan)
    assert workshop.builds == [{"model": EMBEDDER, "options": options, "device": "cuda:3", "timing_cache": b""}]
    assert store.read(first.plan) == b"plan 1"
    assert [doing for doing, _ in heard] == [f"{LABEL}: building", f"{LABEL}: comparing with ONNX Runtime"]
    assert (f"{LABEL}: building", 0.5) in heard
    facts = dict(first.plan.facts)
    parity = facts.pop("parity")
    assert parity["crops"] >= 4
    assert parity["agrees"]
    assert facts == {
        "build_seconds": 12.3,
        "layers": 70,
        "held_layers": 7,
        "context_bytes": 1000,
        "opt_level": 2,
        "workspace_bytes": 1 << 20,
        "parity_missing": None,
    }


def test_plans_of_several_networks(workshop: Workshop, store: PlanStore, bare: Path) -> None:
    plans = ensure_plans([("one 1x1", bare), ("two 2x2", bare)], store, BuildOptions())
    assert [plan.label for plan in plans] == ["one 1x1", "one 1x1"]
    assert len(workshop.builds) == 1


def test_a_plan_further_off_than_promised_is_told(
    workshop: Workshop, store: PlanStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Upside(OnnxRuntimeEngine):
        def run(self, feeds: Tensors) -> dict[str, Any]:
            return {name: -array if name == "embeddings" else array for name, array in super().run(feeds).items()}

    workshop.open_engine = lambda path, options: Upside(path)
    with caplog.at_level(logging.WARNING, "faceserve"):
        plan = ensure(store, EMBEDDER).plan
    assert plan.facts["parity"]["agrees"] is False
    assert "faceserve compare" in caplog.text


@pytest.mark.parametrize("error", [ModelError("no such tensor"), DeviceMemoryError("the GPU is full")])
def test_a_plan_that_cannot_be_compared_says_why(workshop: Workshop, store: PlanStore, error: Exception) -> None:
    def refuse(path: Path, options: LoadOptions) -> Any:
        raise error

    workshop.open_engine = refuse
    plan = ensure(store, EMBEDDER).plan
    assert (plan.facts["parity"], plan.facts["parity_missing"]) == (None, str(error))


def test_a_comparison_can_be_left_out(workshop: Workshop, store: PlanStore) -> None:
    del workshop.open_engine  # nothing is loaded
    plan = ensure(store, EMBEDDER, compare=False).plan
    assert (plan.facts["parity"], plan.facts["parity_missing"]) == (None, "it was not asked for")


def test_a_network_outside_the_model_store_is_built_all_the_same(
    workshop: Workshop, store: PlanStore, bare: Path
) -> None:
    ensured = ensure(store, bare)
    assert ensured.built
    assert ensured.plan.facts["parity"] is None
    assert "model.json" in ensured.plan.facts["parity_missing"]


def test_a_plan_is_built_anew_when_it_is_damaged_or_when_asked(
    workshop: Workshop, store: PlanStore, bare: Path
) -> None:
    ensure(store, bare).plan.path.write_bytes(b"damaged")
    mended = ensure(store, bare)
    assert (mended.built, store.read(mended.plan)) == (True, b"plan 2")
    assert ensure(store, bare, force=True).built
    assert not ensure(store, bare).built
    assert len(workshop.builds) == 3


def test_what_was_learned_serves_the_next_build(workshop: Workshop, store: PlanStore, bare: Path) -> None:
    for _ in range(3):
        ensure(store, bare, force=True)
    assert [build["timing_cache"] for build in workshop.builds] == [b"", b"+", b"++"]


def test_a_timing_cache_of_ones_own_leaves_the_kept_one(
    workshop: Workshop, store: PlanStore, bare: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.cache"
    for _ in range(2):
        plan = ensure(store, bare, force=True, timing_cache=own).plan
    assert [build["timing_cache"] for build in workshop.builds] == [b"", b"+"]
    assert own.read_bytes() == b"++"
    assert store.timing_cache(plan.key) == b""


def test_of_two_who_want_the_same_plan_one_builds(workshop: Workshop, store: PlanStore, bare: Path) -> None:
    together = threading.Barrier(4)

    def want(_: int) -> bool:
        together.wait()
        return ensure(store, bare).built

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(want, range(4))) == [False, False, False, True]
    assert len(workshop.builds) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_who_has_to_wait_says_so(workshop: Workshop, store: PlanStore, bare: Path) -> None:
    key, heard = workshop.key_of(bare, LoadOptions()), threading.Event()

    def hear(doing: str, done: float) -> None:
        if doing == f"{label_of(bare)}: waiting for whoever builds it":
            heard.set()

    with ThreadPoolExecutor(1) as pool:
        with store.building(key):
            waiting = pool.submit(ensure, store, bare, on_progress=hear)
            assert heard.wait(30)
            store.add(key, label_of(bare), b"made meanwhile", {})
        assert not waiting.result().built
    assert workshop.builds == []


def test_a_plan_that_is_there_needs_no_writing(workshop: Workshop, store: PlanStore, bare: Path) -> None:
    ensure(store, bare)
    before = {path: path.stat().st_mtime_ns for path in (store.folder, *store.folder.iterdir())}
    assert not ensure(store, bare).built
    assert {path: path.stat().st_mtime_ns for path in (store.folder, *store.folder.iterdir())} == before


def test_without_tensorrt_the_extra_is_named(store: PlanStore, monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    monkeypatch.setitem(sys.modules, "engines.tensorrt", None)
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[tensorrt\]"):
        ensure(store, bare)
    assert not store.folder.exists()


def test_where_plans_are_kept() -> None:
    assert plans_folder(Settings(data_dir=Path("there"), plans_dir=None)) == Path("there/plans")
    assert plans_folder(Settings(plans_dir=Path("elsewhere"))) == Path("elsewhere")
