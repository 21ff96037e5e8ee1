"""Batch sizes of a network by itself: its plan is built, looked for and loaded with those of its family."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnx
import pytest

from app.batches import for_network
from app.build import least_score, open_engines, open_service
from app.planning import Planner, ensure_plans_for
from app.schemas import DetectOptions
from app.settings import Settings
from engines.architectures import build
from engines.build import BuildOptions, Built
from engines.families import FAMILIES
from engines.importing import import_model
from engines.load import LoadOptions
from engines.manifest import ModelSpec
from engines.models import SHIPPED, ModelStore
from engines.onnxruntime import OnnxRuntimeEngine
from engines.plans import PlanKey, PlanStore, Profile, graph_sha256
from engines.shared.channel import SLOT_BYTES, Channel
from engines.shared.layout import Layout
from engines.shared.server import EngineServer

OWN = {(24, 24): Profile(1, 512, 4096), (48, 48): Profile(1, 32, 256)}
ON_GPU = LoadOptions(runtime="tensorrt", device="cuda:0", profile=Profile(1, 2, 3))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an MTCNN of random weights, `cascade`."""
    folder = tmp_path_factory.mktemp("data")
    paths = [folder / f"{part}.onnx" for part in ("pnet", "rnet", "onet")]
    for path in paths:
        onnx.save(build(f"mtcnn_{path.stem}"), path)
    import_model(paths, into=ModelStore(folder / "models"), family="mtcnn", name="cascade", sizes=[(64, 64), (48, 96)])
    return folder


@pytest.fixture
def cascade(data_dir: Path) -> ModelSpec:
    return ModelStore(data_dir / "models").get("cascade")


def test_a_familys_batches_are_for_its_sizes_alone(cascade: ModelSpec, tmp_path: Path) -> None:
    found = {file.size: for_network(ON_GPU, file.path).profile for file in cascade.files}
    assert found == {(64, 64): ON_GPU.profile, (48, 96): ON_GPU.profile} | OWN
    on_cpu = {file.size: for_network(LoadOptions(), file.path).max_batch_size for file in cascade.files}
    assert on_cpu == {size: FAMILIES["mtcnn"].batches[size].cpu if size in OWN else None for size in on_cpu}
    others = next((SHIPPED / "mobilefacenet_256").glob("*.onnx"))
    assert for_network(ON_GPU, others) is ON_GPU
    assert for_network(ON_GPU, tmp_path / "24x24.onnx") is ON_GPU


def test_plans_are_built_and_found_with_them(
    cascade: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The builder and the GPU are stand-ins; all between them is real."""

    class Workshop:
        @staticmethod
        def key_of(path: Path, options: LoadOptions) -> PlanKey:
            return PlanKey(graph_sha256(path), "8.6.1", "GPU", "9.0", options.precision, options.profile)

        @staticmethod
        def open_engine(path: Path, options: LoadOptions) -> OnnxRuntimeEngine:
            return OnnxRuntimeEngine(path)

    built: dict[tuple[int, int], Profile] = {}

    def build_plan(model: Path, options: BuildOptions, **_: Any) -> Built:
        built[next(file.size for file in cascade.files if file.path == model)] = options.profile
        return Built(b"plan", b"", layers=1, context_bytes=1, held_layers=0, seconds=1)

    monkeypatch.setitem(sys.modules, "engines.tensorrt", Workshop)
    monkeypatch.setattr("engines.build.build_plan", build_plan)
    files = [file.path for file in cascade.files]
    loading = LoadOptions("tensorrt", "cuda:0", plans=tmp_path, profile=Profile(1, 2, 3))
    ensure_plans_for(files, loading)
    assert built == {(64, 64): loading.profile, (48, 96): loading.profile} | OWN
    store = PlanStore(tmp_path)
    keys = {file.size: Workshop.key_of(file.path, for_network(loading, file.path)) for file in cascade.files}
    plans = {size: store.find(key, "") for size, key in keys.items()}
    assert {size: plan.key.profile for size, plan in plans.items()} == built
    assert all(plan.facts["parity"]["scores"]["max"] == 0 for plan in plans.values()), "the same engine on both sides"
    again = Planner(store, BuildOptions(profile=loading.profile)).ensure("", files[-1])
    assert (again.built, again.plan.key.profile) == (False, OWN[24, 24])
    narrow = Planner(store, BuildOptions(profile=Profile(7, 7, 7)), compare=False, family_batches=False)
    assert narrow.ensure("", files[-1]).plan.key.profile == Profile(7, 7, 7)


def test_an_engine_process_has_room_for_the_rows(cascade: ModelSpec) -> None:
    for file in cascade.files:
        engine = OnnxRuntimeEngine(file.path)
        layout = Layout(engine.inputs, engine.outputs, most=4096, slot_bytes=SLOT_BYTES)
        assert layout.rows >= (OWN[file.size].most if file.size in OWN else 8)
        engine.close()


def test_a_service_runs_a_cascade_itself_and_through_an_engine_process(data_dir: Path, group: bytes) -> None:
    settings = Settings(data_dir=data_dir, detector="cascade", small_scale=False)
    assert least_score(settings, ModelStore(data_dir / "models").get("cascade")) == 0.7
    runs: set[str] = set()
    with open_service(settings, on_batch=lambda name, _: runs.add(name)) as service:
        expected = service.detect(group, DetectOptions(min_score=0.01))["faces"]
    assert expected
    names = [*(f"detector_{size}" for size in ("64x64", "48x96", "48x48", "24x24")), "embedder"]
    assert runs == set(names)
    channel = Channel(seats=1, slots=2)
    with ExitStack() as stack:
        stack.callback(channel.close)
        engines, about = stack.enter_context(open_engines(settings))
        assert list(engines) == names
        assert engines["detector_24x24"].max_batch_size == FAMILIES["mtcnn"].batches[24, 24].cpu
        server = EngineServer(channel, engines, about=about)
        stack.callback(server.close)
        with open_service(settings, channels=[channel]) as service:
            assert service.detect(group, DetectOptions(min_score=0.01))["faces"] == expected
