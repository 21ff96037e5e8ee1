"""Tiny networks, real engines without a network, and the shipped pair."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.base import EngineClosedError, Tensors, TensorSpec, cancellation
from engines.batching import BatchingEngine
from engines.embedder import Embedder
from engines.load import load_engine
from engines.single_shot import SingleShotDetector

WEIGHTS = Path(__file__).resolve().parents[2] / "engines" / "weights"
POISON = 255
PATIENCE_S = 20

SaveModel = Callable[..., Path]
Answer = Future[dict[str, NDArray[Any]]]
InBackground = Callable[[Callable[[], dict[str, NDArray[Any]]]], Answer]


class RowEngine:
    """An engine whose answer to a row (4,) uint8 is the row doubled and its sum; a row with POISON fails its call.

    With `gate` given a run waits until the gate is released once for it, so that a test decides when calls meet.
    """

    inputs = (TensorSpec("rows", "uint8", (None, 4)),)
    description = {"runtime": "test"}  # noqa: RUF012
    fault: str | None = None
    outputs = (TensorSpec("doubled", "float32", (None, 4)), TensorSpec("total", "float32", (None,)))

    def __init__(
        self, *, max_batch_size: int = 4, concurrency: int = 1, gate: threading.Semaphore | None = None
    ) -> None:
        self.max_batch_size = max_batch_size
        self.concurrency = concurrency
        self.gate = gate
        self.batches: list[list[int]] = []
        """The first number of each row, run by run, in the order in which runs began."""
        self.most_at_once = 0
        self.closed = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        rows = feeds["rows"]
        with self._lock:
            if self.closed.is_set():
                raise EngineClosedError("closed")
            self.batches.append(rows[:, 0].tolist())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.gate is not None:
                self.gate.acquire()
            if (rows == POISON).any():
                raise ValueError("a poisoned row")
            return {"doubled": rows.astype(np.float32) * 2, "total": rows.sum(axis=1, dtype=np.float32)}
        finally:
            with self._lock:
                self._at_once -= 1

    def close(self) -> None:
        self.closed.set()


class Line:
    """A BatchingEngine on a gated RowEngine: each run begun stays until `release`."""

    def __init__(self, row_engine: type[RowEngine], **options: Any) -> None:
        self.gate = threading.Semaphore(0)
        inner = {name: options.pop(name) for name in ("max_batch_size", "concurrency") if name in options}
        self.inner = row_engine(gate=self.gate, **inner)
        self.engine = BatchingEngine(self.inner, **options)

    def start(self, *numbers: int, is_cancelled: Callable[[], bool] | None = None) -> Answer:
        """Calls from a thread of its own and returns once the call runs or stands in line."""
        feeds = {"rows": np.repeat(np.array(numbers, np.uint8)[:, None], 4, axis=1)}
        begun, waiting = len(self.inner.batches), self.engine.waiting

        def run() -> dict[str, NDArray[Any]]:
            with cancellation(is_cancelled or (lambda: False)):
                return self.engine.run(feeds)

        answer = _in_background(run)
        self.until(lambda: answer.done() or len(self.inner.batches) > begun or self.engine.waiting > waiting)
        return answer

    def release(self, runs: int = 100) -> None:
        self.gate.release(runs)

    @staticmethod
    def until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.0005)


def _in_background(work: Callable[[], dict[str, NDArray[Any]]]) -> Answer:
    """Runs `work` on a thread that, should it hang, does not hang the tests."""
    answer: Answer = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except Exception as error:  # noqa: BLE001  (handed to whoever asks for the result)
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


@pytest.fixture(scope="session")
def row_engine() -> type[RowEngine]:
    return RowEngine


@pytest.fixture(scope="session")
def in_background() -> InBackground:
    """Runs a function on a thread of its own and returns the future of its result."""
    return _in_background


@pytest.fixture
def line(row_engine: type[RowEngine]) -> Iterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(**options: Any) -> Line:
        made.append(Line(row_engine, **options))
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
