"""Which runtime and device are chosen: the rules as a table, and what is said where there is no GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.build import open_service
from app.runtime import Choice, Found, choose, decide, gpu_at, load_options
from app.settings import Settings
from engines import cuda
from engines.base import RuntimeMissingError
from engines.onnxruntime import has_cuda
from engines.plan_key import Profile

ALL = Found("cuda:1")
NO_TENSORRT = Found("cuda:1", no_tensorrt="no TensorRT")
NO_PLANS = Found("cuda:1", no_plans="no plans")
ONLY_ONNXRUNTIME = Found("cuda:1", no_tensorrt="no TensorRT", onnxruntime_cuda=True)
TENSORRT, CUDA, CPU = ("tensorrt", "cuda:1"), ("onnxruntime", "cuda:1"), ("onnxruntime", "cpu")


@pytest.mark.parametrize(
    ("runtime", "device", "found", "chosen", "why"),
    [
        ("auto", "auto", ALL, TENSORRT, "TensorRT, a GPU and plans"),
        ("auto", "auto", NO_TENSORRT, CPU, "no TensorRT"),
        ("auto", "auto", NO_PLANS, CPU, "no plans"),
        ("auto", "auto", ONLY_ONNXRUNTIME, CPU, "no TensorRT"),
        ("auto", "cuda", ALL, TENSORRT, "TensorRT, a GPU and plans"),
        ("auto", "cuda:1", ALL, TENSORRT, "TensorRT, a GPU and plans"),
        ("auto", "cuda", ONLY_ONNXRUNTIME, CUDA, "no TensorRT"),
        ("auto", "cuda:1", Found("cuda:1", no_plans="no plans", onnxruntime_cuda=True), CUDA, "no plans"),
        ("tensorrt", "auto", ALL, TENSORRT, "as set"),
        ("tensorrt", "cuda", ALL, TENSORRT, "as set"),
        ("tensorrt", "cuda:1", NO_PLANS, TENSORRT, "as set"),  # whose loading says what to build
        ("onnxruntime", "cuda", ALL, CUDA, "as set"),
        ("onnxruntime", "cuda", NO_TENSORRT, CUDA, "as set, on the first GPU: no TensorRT"),
    ],
)
def test_the_rules(runtime: str, device: str, found: Found, chosen: tuple[str, str], why: str) -> None:
    choice = decide(runtime, device, found)
    assert (choice.runtime, choice.device) == chosen
    assert choice.why.startswith(why)


@pytest.mark.parametrize(
    ("runtime", "device", "found", "told"),
    [
        ("tensorrt", "auto", NO_TENSORRT, "no TensorRT"),
        ("tensorrt", "cuda:1", NO_TENSORRT, "no TensorRT"),
        ("auto", "cuda", NO_TENSORRT, r"`cuda`.*no TensorRT.*install `onnxruntime-gpu`"),
        ("auto", "cuda:1", NO_PLANS, r"`cuda:1`.*no plans.*install `onnxruntime-gpu`"),
    ],
)
def test_what_was_asked_for_and_is_absent_is_refused(runtime: str, device: str, found: Found, told: str) -> None:
    with pytest.raises(RuntimeMissingError, match=told):
        decide(runtime, device, found)


@pytest.mark.parametrize(
    ("place", "gpus", "device"),
    [(0, 1, "cuda:0"), (5, 1, "cuda:0"), (0, 2, "cuda:0"), (1, 2, "cuda:1"), (2, 2, "cuda:0"), (3, 0, "cuda:0")],
)
def test_gpus_are_shared_out(place: int, gpus: int, device: str) -> None:
    assert gpu_at(place, gpus) == device


@pytest.fixture
def _no_gpu_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    cuda.pycuda.cache_clear()


@pytest.mark.usefixtures("_no_gpu_packages")
@pytest.mark.parametrize(
    ("runtime", "device", "chosen"),
    [
        ("auto", "auto", CPU),
        ("auto", "cpu", CPU),
        ("onnxruntime", "auto", CPU),
        ("onnxruntime", "cpu", CPU),
        ("onnxruntime", "cuda", ("onnxruntime", "cuda:0")),
        ("onnxruntime", "cuda:3", ("onnxruntime", "cuda:3")),
    ],
)
def test_without_the_packages(runtime: str, device: str, chosen: tuple[str, str]) -> None:
    choice = choose(Settings.model_validate({"runtime": runtime, "device": device}), [], place=1)
    assert (choice.runtime, choice.device) == chosen
    assert ("pip install 'faceserve[tensorrt]'" in choice.why) == (
        (runtime, device) in [("auto", "auto"), ("onnxruntime", "cuda")]
    )


@pytest.mark.usefixtures("_no_gpu_packages")
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_tensorrt_without_the_packages_says_how_to_get_them(device: str) -> None:
    with pytest.raises(RuntimeMissingError, match=r"pip install 'faceserve\[tensorrt\]'"):
        choose(Settings(runtime="tensorrt", device=device), [])


@pytest.mark.skipif(has_cuda(), reason="needs an ONNX Runtime without CUDA")
@pytest.mark.usefixtures("_no_gpu_packages")
def test_a_gpu_that_nothing_can_use_is_refused_with_both_remedies() -> None:
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[tensorrt\].*onnxruntime-gpu"):
        choose(Settings(device="cuda"), [])


@pytest.mark.usefixtures("_no_gpu_packages")
def test_the_choice_is_logged_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "faceserve"), open_service(Settings(data_dir=tmp_path, small_scale=False)) as service:
        told = service.about.info()["runtime"]
    assert told["chosen"] == "onnxruntime"
    assert told["device"] == "cpu"
    assert f"the models run on onnxruntime, device cpu: {told['why']}" in caplog.messages


def test_the_settings_reach_the_loading(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, precision="mixed", batch="1:4:16", contexts=3, threads_per_run=2)
    options = load_options(settings, Choice("tensorrt", "cuda:1", "as set"))
    assert (options.runtime, options.device, options.contexts, options.threads) == ("tensorrt", "cuda:1", 3, 2)
    assert (options.precision, options.profile) == ("mixed", Profile(1, 4, 16))
    assert options.plans == tmp_path / "plans"
    elsewhere = load_options(Settings(plans_dir=tmp_path), Choice("tensorrt", "cuda:0", ""))
    assert elsewhere.plans == tmp_path
