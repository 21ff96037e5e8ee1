"""What is ONNX Runtime's own: loading, devices, threads. What every engine promises is in test_engine_contract.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.base import ModelError, RuntimeMissingError
from engines.onnxruntime import OnnxRuntimeEngine
from tests.engines.rows import PATIENCE_S

IDENTITY = [helper.make_node("Identity", ["x"], ["y"])]


def test_the_graph_describes_itself(tiny_model: Path) -> None:
    engine = OnnxRuntimeEngine(tiny_model, concurrency=3, max_batch_size=5)
    assert [(spec.name, spec.dtype, spec.shape) for spec in engine.inputs] == [("rows", "uint8", (None, 4))]
    assert [(spec.name, spec.dtype, spec.shape) for spec in engine.outputs] == [
        ("doubled", "float32", (None, 4)),
        ("total", "float32", (None,)),
    ]
    assert engine.metadata == {"family": "tiny"}
    assert (engine.concurrency, engine.max_batch_size) == (3, 5)
    assert engine.description == {
        "runtime": "onnxruntime",
        "version": ort.__version__,
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "precision": "float32",
    }
    rows = np.array([[1, 2, 3, 4], [5, 6, 7, 200]], np.uint8)
    outputs = engine.run({"rows": rows})
    np.testing.assert_array_equal(outputs["doubled"], rows * np.float32(2))
    np.testing.assert_array_equal(outputs["total"], [10, 218])


def test_light_rows_are_joined_on_a_cpu_and_heavy_ones_are_not(weights: Path) -> None:
    sizes = {
        path: OnnxRuntimeEngine(weights / path).max_batch_size
        for path in (
            "retinaface_mnet025/640x640.onnx",
            "retinaface_mnet025/192x192.onnx",
            "mobilefacenet_256/112x112.onnx",
        )
    }
    assert list(sizes.values()) == [1, 4, 4]


def test_threads_change_no_answer(weights: Path) -> None:
    path = weights / "mobilefacenet_256" / "112x112.onnx"
    crops = np.random.default_rng(0).integers(0, 255, (2, 112, 112, 3), np.uint8)
    one, two = (OnnxRuntimeEngine(path, threads=threads).run({"crops": crops}) for threads in (1, 2))
    assert (np.sum(one["embeddings"] * two["embeddings"], axis=1) >= 0.9999).all()


def test_a_result_never_shares_memory_with_a_feed(save_model: Callable[..., Path]) -> None:
    path = save_model(IDENTITY, [("x", TensorProto.FLOAT, ["n", 2])], [("y", TensorProto.FLOAT, ["n", 2])])
    given = np.ones((3, 2), np.float32)
    result = OnnxRuntimeEngine(path).run({"x": given})["y"]
    assert not np.shares_memory(result, given)
    result[:] = 0
    assert (given == 1).all()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model file .*gone\.onnx"):
        OnnxRuntimeEngine(tmp_path / "gone.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08" * 100])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx cannot be loaded"):
        OnnxRuntimeEngine(path)


@pytest.mark.parametrize(
    ("element", "shape"),
    [(TensorProto.FLOAT, [1, 2]), (TensorProto.INT64, ["n", 2]), (TensorProto.FLOAT, [])],
)
def test_a_network_that_is_not_canonical_is_refused(
    save_model: Callable[..., Path], element: int, shape: list[int | str]
) -> None:
    path = save_model(IDENTITY, [("x", element, shape)], [("y", element, shape)])
    with pytest.raises(ModelError, match="not a canonical network: 'x'"):
        OnnxRuntimeEngine(path)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_a_device_that_is_not_there_is_refused_with_what_to_do(tiny_model: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="install `onnxruntime-gpu`"):
        OnnxRuntimeEngine(tiny_model, device="cuda:0")


@pytest.mark.parametrize("device", ["", "gpu", "cuda", "cuda:", "cuda:x", "cuda:-1"])
def test_a_device_is_cpu_or_cuda_n(tiny_model: Path, device: str) -> None:
    with pytest.raises(RuntimeMissingError, match="`cpu` or `cuda:N`"):
        OnnxRuntimeEngine(tiny_model, device=device)


class HeldFeeds(Mapping[str, NDArray[Any]]):
    """Feeds that pass the check at the edge and then hold the run until `gate` is set."""

    def __init__(self, feeds: dict[str, NDArray[Any]]) -> None:
        self._feeds = feeds
        self._readings = 0
        self.running, self.gate = threading.Event(), threading.Event()

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._feeds[name]

    def __len__(self) -> int:
        return len(self._feeds)

    def __iter__(self) -> Iterator[str]:
        self._readings += 1
        if self._readings == 2:
            self.running.set()
            assert self.gate.wait(PATIENCE_S)
        return iter(self._feeds)


def test_close_waits_for_a_running_call(tiny_model: Path) -> None:
    engine = OnnxRuntimeEngine(tiny_model)
    feeds = HeldFeeds({"rows": np.ones((1, 4), np.uint8)})
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(engine.run, feeds)
        assert feeds.running.wait(PATIENCE_S)
        closing = pool.submit(engine.close)
        with pytest.raises(FutureTimeoutError):
            closing.result(0.1)
        feeds.gate.set()
        assert running.result(PATIENCE_S)["total"].tolist() == [4]
        closing.result(PATIENCE_S)
