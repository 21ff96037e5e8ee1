"""What the composition root does beyond putting parts together: warnings, plans, GPUs by place."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.build import open_batched_pipeline, open_engines, open_service
from app.images import decode
from app.pipeline import FaceChoice
from app.schemas import EmbedOptions
from app.settings import Settings
from engines.base import DeviceLostError, Engine
from engines.load import LoadOptions, load_engine
from engines.shared.channel import Channel
from engines.shared.server import EngineServer

NO_GPU = shutil.which("nvidia-smi") is None or find_spec("tensorrt") is None or find_spec("pycuda") is None


def test_what_an_engine_notes_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load(path: Path, options: LoadOptions) -> Engine:
        engine = load_engine(path, options)
        vars(engine)["description"] = dict(engine.description) | {"version": "1", "note": "run on 0 only"}
        return engine

    monkeypatch.setattr("app.build.load_engine", load)
    with caplog.at_level(logging.WARNING, "faceserve"), open_service(Settings(data_dir=tmp_path)) as service:
        assert service.about.info()["engines"]["embedder"]["note"] == "run on 0 only"
    assert caplog.messages == ["onnxruntime 1: run on 0 only"]


def test_a_worker_starts_though_the_engine_process_fails_meanwhile(tmp_path: Path) -> None:
    """The process is replaced; the worker is not to blame, and to end it would end the service."""

    def lose(_: object) -> dict[str, NDArray[np.float32]]:
        raise DeviceLostError("the GPU has fallen off the bus")

    settings = Settings(data_dir=tmp_path)
    channel = Channel(seats=1, slots=2)
    with ExitStack() as stack:
        stack.callback(channel.close)
        engines, about = stack.enter_context(open_engines(settings))
        for engine in engines.values():
            vars(engine)["run"] = lose
        server = EngineServer(channel, engines, about=about)
        stack.callback(server.close)
        with open_service(settings, channels=[channel]) as service:
            assert service.fault is None
            channel.lose()
            assert service.reasons_not_ready() == ["The engines are being started again"]


def test_the_pipeline_alone_is_the_services_without_a_gallery(tmp_path: Path, group: bytes) -> None:
    settings = Settings(data_dir=tmp_path / "data", min_score=0.4, small_scale=False)
    runs: list[tuple[str, int]] = []
    with open_batched_pipeline(settings, on_batch=lambda *run: runs.append(run)) as batched:
        warmed = len(runs)
        image = decode(group, max_pixels=batched.defaults.max_pixels)
        choice = FaceChoice(min_score=batched.defaults.min_score, small_scale=batched.defaults.small_scale)
        faces = batched.pipeline.detect(image, choice)
        embeddings, _ = batched.pipeline.embed(batched.pipeline.crops(image, faces))
    assert sorted(runs[:warmed]) == [("detector_640x640", 1), ("embedder", 1)]
    assert runs[warmed:] == [("detector_640x640", 1), ("embedder", 2)]
    assert not settings.data_dir.exists()
    with open_service(settings) as service:
        answer = service.embed(group, EmbedOptions())
        info = service.about.info()
    np.testing.assert_array_equal(embeddings, [face["embedding"] for face in answer["faces"]])
    assert info["engines"] == batched.engines
    assert info["runtime"] == batched.runtime
    assert info["models"] == {"detector": batched.pair.detector.name, "embedder": batched.pair.embedder.name}


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU with TensorRT")
def test_plans_are_built_when_told_to_and_then_chosen(tmp_path: Path, group: bytes) -> None:
    def opened(**settings: object) -> tuple[dict[str, str], list[str]]:
        given = {"data_dir": tmp_path, "batch": "1:1:2"} | settings
        with open_service(Settings.model_validate(given), place=1) as service:
            assert service.fault is None
            assert service.reasons_not_ready() == []
            faces = service.embed(group, EmbedOptions())["faces"]
            assert len(faces) == 2
            info = service.about.info()
            return info["runtime"], [each["runtime"] for each in info["engines"].values()]

    without, _ = opened()
    assert (without["chosen"], without["device"]) == ("onnxruntime", "cpu")
    assert "faceserve build" in without["why"]
    built, ran = opened(runtime="tensorrt", device="cuda", auto_build=True)
    assert (built["chosen"], ran) == ("tensorrt", ["tensorrt"] * 3)
    chosen, ran = opened()
    assert (chosen["chosen"], chosen["device"], ran) == ("tensorrt", built["device"], ["tensorrt"] * 3)
