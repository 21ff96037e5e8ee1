"""Plans compiled by the TensorRT that is installed, at the lowest optimisation levels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import onnx
import pytest
from onnx import ModelProto

from engines.base import ModelError, RuntimeMissingError
from engines.build import BuildOptions, Built, build_plan
from engines.plans import Precision, Profile

Test = TypeVar("Test", bound=Callable[..., None])
NO_GPU = shutil.which("nvidia-smi") is None or find_spec("tensorrt") is None or find_spec("pycuda") is None
PROFILE = Profile(1, 2, 4)


def on_a_gpu(test: Test) -> Test:
    needs = pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU with TensorRT")
    marked: Test = pytest.mark.gpu(needs(test))
    return marked


@pytest.fixture(scope="module")
def detector(weights: Path) -> Path:
    return weights / "retinaface_mnet025" / "192x192.onnx"


@pytest.fixture(scope="module")
def built(detector: Path) -> Built:
    return build_plan(detector, BuildOptions(profile=PROFILE, level=0))


def shapes(plan: bytes) -> dict[str, list[tuple[int, ...]]]:
    """The profile's shapes of each input of a plan."""
    import tensorrt

    from engines import cuda
    from engines.tensorrt_log import LOG

    with cuda.primary_context("cuda:0"):
        engine = tensorrt.Runtime(LOG).deserialize_cuda_engine(plan)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
        return {name: [tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0)] for name in inputs}


@on_a_gpu
def test_a_plan_has_the_batch_sizes_asked_for(built: Built) -> None:
    assert shapes(built.plan) == {"images": [(rows, 192, 192, 3) for rows in (1, 2, 4)]}


@on_a_gpu
def test_what_is_told_of_a_plan(built: Built) -> None:
    import tensorrt

    assert built.seconds > 0
    assert 10 < built.layers < 200
    assert 2**20 < built.context_bytes < 2**30
    # The head and, unless it gives the same numbers in float16, the input's scaling; nothing of the body.
    strongly_typed = hasattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    assert built.held_layers == 0 if strongly_typed else 10 < built.held_layers < 90


@on_a_gpu
def test_a_timing_cache_spares_the_next_build_its_measuring(detector: Path, built: Built) -> None:
    options = BuildOptions(profile=PROFILE, level=1)  # level 0 measures nothing
    first = build_plan(detector, options)
    again = build_plan(detector, options, timing_cache=first.timing_cache)
    assert len(first.timing_cache) > len(built.timing_cache)
    assert len(again.timing_cache) < 1.1 * len(first.timing_cache)  # hardly anything was new


@on_a_gpu
def test_a_damaged_timing_cache_counts_for_nothing(detector: Path) -> None:
    built = build_plan(detector, BuildOptions(profile=PROFILE, level=0), timing_cache=b"damaged" * 100)
    assert list(shapes(built.plan)) == ["images"]


@on_a_gpu
@pytest.mark.parametrize("precision", ["fp32", "mixed"])
def test_every_precision_is_built(weights: Path, precision: Precision) -> None:
    model = onnx.load(weights / "mobilefacenet_256" / "112x112.onnx")
    progress: list[tuple[str, float]] = []
    options = BuildOptions(precision, PROFILE, level=0)
    built = build_plan(model, options, on_progress=lambda phase, share: progress.append((phase, share)))
    assert list(shapes(built.plan)) == ["crops"]
    assert (progress[0], progress[-1]) == (("parsing", 0.0), ("building", 1.0))
    assert all(0 <= share <= 1 for _, share in progress)


def unsupported(model: ModelProto) -> None:
    """Throws dice in place of an activation, which no TensorRT does."""
    node = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    node.op_type = "Bernoulli"
    del node.attribute[:]


def fixed(model: ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


@on_a_gpu
@pytest.mark.parametrize(
    ("mistake", "words"), [(unsupported, r"cannot read the network:\nBernoulli 'body/"), (fixed, "batch free")]
)
def test_what_tensorrt_cannot_build_is_explained(
    detector: Path, mistake: Callable[[ModelProto], None], words: str
) -> None:
    model = onnx.load(detector)
    mistake(model)
    with pytest.raises(ModelError, match=words):
        build_plan(model, BuildOptions(profile=PROFILE, level=0))


@on_a_gpu
def test_a_gpu_that_is_not_there_is_refused(detector: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="cuda:99"):
        build_plan(detector, BuildOptions(), device="cuda:99")


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_without_tensorrt_it_says_what_to_install(detector: Path) -> None:
    with pytest.raises(RuntimeMissingError, match=r"tensorrt.*pip install 'faceserve\[tensorrt\]'"):
        build_plan(detector, BuildOptions())
