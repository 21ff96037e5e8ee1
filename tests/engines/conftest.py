"""Tiny networks, lines of calls, and the shipped pair."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.base import cancellation
from engines.batching import BatchingEngine
from engines.embedder import Embedder
from engines.load import load_engine
from engines.single_shot import SingleShotDetector
from tests.engines.rows import Answer, RowEngine, call, in_background, until

WEIGHTS = Path(__file__).resolve().parents[2] / "engines" / "weights"

SaveModel = Callable[..., Path]


class Line:
    """A BatchingEngine on a gated RowEngine: each run begun stays until `release`."""

    def __init__(self, **options: Any) -> None:
        self.gate = threading.Semaphore(0)
        inner = {name: options.pop(name) for name in ("max_batch_size", "concurrency") if name in options}
        self.inner = RowEngine(gate=self.gate, **inner)
        self.engine = BatchingEngine(self.inner, **options)

    def start(self, *numbers: int, is_cancelled: Callable[[], bool] | None = None) -> Answer:
        """Calls from a thread of its own and returns once the call runs or stands in line."""
        begun, waiting = len(self.inner.batches), self.engine.waiting

        def run() -> dict[str, NDArray[Any]]:
            with cancellation(is_cancelled or (lambda: False)):
                return self.engine.run(call(*numbers))

        answer = in_background(run)
        until(lambda: answer.done() or len(self.inner.batches) > begun or self.engine.waiting > waiting)
        return answer

    def release(self, runs: int = 100) -> None:
        self.gate.release(runs)


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(**options: Any) -> Line:
        made.append(Line(**options))
        return made[-1]

    yield make
    for each in made:  # lets every thread go, whatever became of the test
        each.release(1000)


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> SaveModel:
    """Writes a network of the given nodes and returns its path: `save_model(nodes, inputs, outputs, metadata=None)`,
    where inputs and outputs are (name, ONNX type, shape)."""

    def save(nodes: list[Any], inputs: list[Any], outputs: list[Any], metadata: dict[str, str] | None = None) -> Path:
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(*spec) for spec in inputs],
            [helper.make_tensor_value_info(*spec) for spec in outputs],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
        onnx.save(model, path)
        return path

    return save


@pytest.fixture(scope="session")
def tiny_model(save_model: SaveModel) -> Path:
    """RowEngine's sum as a network, without the poison."""
    return save_model(
        [
            helper.make_node("Cast", ["rows"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["numbers", "numbers"], ["doubled"]),
            helper.make_node("Constant", [], ["axis"], value_ints=[1]),
            helper.make_node("ReduceSum", ["numbers", "axis"], ["total"], keepdims=0),
        ],
        [("rows", TensorProto.UINT8, ["n", 4])],
        [("doubled", TensorProto.FLOAT, ["n", 4]), ("total", TensorProto.FLOAT, ["n"])],
        {"family": "tiny"},
    )


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder of the shipped networks: retinaface_mnet025/HxW.onnx and mobilefacenet_256/112x112.onnx."""
    return WEIGHTS


@pytest.fixture(scope="session")
def detector(weights: Path) -> Iterator[SingleShotDetector]:
    """The shipped detector at both its scales."""
    sizes = ("640x640", "192x192")
    detector = SingleShotDetector([load_engine(weights / "retinaface_mnet025" / f"{size}.onnx") for size in sizes])
    yield detector
    detector.close()


@pytest.fixture(scope="session")
def embedder(weights: Path) -> Iterator[Embedder]:
    """The shipped embedder."""
    embedder = Embedder(load_engine(weights / "mobilefacenet_256" / "112x112.onnx"))
    yield embedder
    embedder.close()


@pytest.fixture
def plan_worker() -> Iterator[Callable[[Path, str], subprocess.Popen[str]]]:
    """Starts processes of `plan_worker.py`, as (folder, deed), and ends those that are left."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, deed: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).with_name("plan_worker.py")), str(folder), deed]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=WEIGHTS.parents[1], text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
