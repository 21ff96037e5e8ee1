"""What every engine promises (engines/base.py), asked of each engine in the same words.

A runtime joins by one line in ENGINES; a network by one in NETWORKS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from engines.base import Engine, EngineClosedError, Tensors
from engines.batching import BatchingEngine
from engines.onnxruntime import OnnxRuntimeEngine
from engines.plans import Profile
from tests.engines.gpu import NEEDS_GPU, planned
from tests.engines.shared.alone import Alone

ROWS = 4


def _onnxruntime(path: Path) -> Engine:
    return OnnxRuntimeEngine(path, concurrency=2, max_batch_size=ROWS)


def _batching(path: Path) -> Engine:
    return BatchingEngine(_onnxruntime(path))


def _cuda(path: Path) -> Engine:
    return OnnxRuntimeEngine(path, device="cuda:0", concurrency=2, max_batch_size=ROWS)


def _tensorrt(path: Path) -> Engine:
    """In float32, since a row alone and in company differ in the last bits, which float16 has few of."""
    from engines.tensorrt import TensorRTEngine

    return TensorRTEngine(planned(path, "fp32", Profile(1, ROWS, ROWS)), contexts=2)


def _tensorrt_batching(path: Path) -> Engine:
    return BatchingEngine(_tensorrt(path))


def _shared(path: Path) -> Engine:
    return Alone(_onnxruntime(path))


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "onnxruntime": _onnxruntime,
    "batching": _batching,
    "shared": _shared,
    "cuda": _cuda,
    "tensorrt": _tensorrt,
    "tensorrt batching": _tensorrt_batching,
}
NO_CUDA = "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
MARKS = {
    "cuda": [pytest.mark.gpu, pytest.mark.skipif(NO_CUDA, reason="needs an NVIDIA GPU and onnxruntime-gpu")],
    "tensorrt": NEEDS_GPU,
    "tensorrt batching": NEEDS_GPU,
}

NETWORKS = {
    "tiny": None,
    "detector": "retinaface_mnet025/192x192.onnx",
    "embedder": "mobilefacenet_256/112x112.onnx",
}


@dataclass
class Case:
    """An engine under test with enough rows for one full batch."""

    engine: Engine
    feeds: Tensors

    def rows(self, chosen: slice) -> dict[str, NDArray[Any]]:
        return {name: array[chosen] for name, array in self.feeds.items()}


@pytest.fixture(params=NETWORKS)
def path(request: pytest.FixtureRequest, tiny_model: Path, weights: Path) -> Path:
    name = NETWORKS[request.param]
    return tiny_model if name is None else weights / name


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in ENGINES])
def case(request: pytest.FixtureRequest, path: Path, samples: Path) -> Iterator[Case]:
    engine = ENGINES[request.param](path)
    spec = engine.inputs[0]
    rows = np.random.default_rng(7).integers(0, 255, (ROWS, *(size or 1 for size in spec.shape[1:])), np.uint8)
    if spec.name == "images":  # faces in place of noise, so that there is something to find
        photos = [cv2.imread(str(samples / name)) for name in ("astronaut.jpg", "grace_hopper.jpg", "group.jpg")]
        for row, photo in zip(rows, photos, strict=False):
            row[:] = cv2.resize(np.asarray(photo), row.shape[1::-1])
    yield Case(engine, {spec.name: rows})
    engine.close()


def _same(given: Tensors, expected: Tensors) -> None:
    """The same answers but for the last bits: a row of a batch may be summed in another order."""
    assert given.keys() == expected.keys()
    for name, array in expected.items():
        assert given[name].dtype == array.dtype
        assert given[name].shape == array.shape
        if name == "embeddings":
            assert (np.sum(given[name] * array, axis=1) >= 0.9999).all()
        elif name in ("boxes", "landmarks"):
            faces = expected["scores"] > 0.5  # far down the line equal scores may change places
            np.testing.assert_allclose(given[name][faces], array[faces], atol=0.05)
        else:
            np.testing.assert_allclose(given[name], array, rtol=1e-4, atol=1e-4)


def test_outputs_are_as_described(case: Case) -> None:
    outputs = case.engine.run(case.feeds)
    assert outputs.keys() == {spec.name for spec in case.engine.outputs}
    for spec in case.engine.outputs:
        array = outputs[spec.name]
        assert array.dtype == spec.dtype
        assert array.shape == (
            ROWS,
            *(g if w is None else w for g, w in zip(array.shape[1:], spec.shape[1:], strict=True)),
        )


def test_a_row_alone_is_the_row_in_company(case: Case) -> None:
    together = case.engine.run(case.feeds)
    for row in range(ROWS):
        alone = case.engine.run(case.rows(slice(row, row + 1)))
        _same(alone, {name: array[row : row + 1] for name, array in together.items()})


def test_arrays_stay_valid_and_belong_to_the_caller(case: Case) -> None:
    first = case.engine.run(case.rows(slice(0, 2)))
    kept = {name: array.copy() for name, array in first.items()}
    second = case.engine.run(case.rows(slice(2, 4)))
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert not np.shares_memory(array, second[name])
        assert not any(np.shares_memory(array, given) for given in case.feeds.values())


def test_many_threads_give_the_answers_of_one(case: Case) -> None:
    chunks = [slice(0, 1), slice(1, 3), slice(3, 4), slice(0, 4), slice(2, 4)] * 4
    expected = [case.engine.run(case.rows(chunk)) for chunk in chunks]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda chunk: case.engine.run(case.rows(chunk)), chunks))
    for mine, wanted in zip(given, expected, strict=True):
        _same(mine, wanted)


def test_feeds_are_checked_at_the_edge(case: Case) -> None:
    name = case.engine.inputs[0].name
    rows = case.feeds[name]
    with pytest.raises(ValueError, match=f"inputs are .*{name}.*'other'"):
        case.engine.run({"other": rows})
    with pytest.raises(ValueError, match="inputs are"):
        case.engine.run({**case.feeds, "other": rows})
    with pytest.raises(ValueError, match=r"must be uint8 .* not float32"):
        case.engine.run({name: rows.astype(np.float32)})
    with pytest.raises(ValueError, match="must be uint8 of shape"):
        case.engine.run({name: rows[..., :-1]})
    with pytest.raises(ValueError, match="must be uint8 of shape"):
        case.engine.run({name: rows[0]})
    with pytest.raises(ValueError, match=f"1 to {ROWS} rows, not 0"):
        case.engine.run({name: rows[:0]})
    with pytest.raises(ValueError, match=f"chunks of {ROWS}"):
        case.engine.run({name: np.concatenate([rows, rows])})
    case.engine.run(case.feeds)


def test_rows_need_not_be_contiguous(case: Case) -> None:
    every_other = {name: np.repeat(array, 2, axis=0)[::2] for name, array in case.feeds.items()}
    mirrored = {name: array[..., ::-1] for name, array in case.feeds.items()}
    _same(case.engine.run(every_other), case.engine.run(case.feeds))
    _same(case.engine.run(mirrored), case.engine.run({name: array.copy() for name, array in mirrored.items()}))


def test_a_closed_engine_says_so(case: Case) -> None:
    case.engine.run(case.feeds)
    case.engine.close()
    with pytest.raises(EngineClosedError):
        case.engine.run(case.feeds)
    case.engine.close()


def test_closing_while_threads_run_answers_each(case: Case) -> None:
    expected = case.engine.run(case.feeds)
    answers: list[Tensors] = []
    under_way = threading.Barrier(5)

    def run_until_closed() -> None:
        answers.append(case.engine.run(case.feeds))
        under_way.wait()
        with suppress(EngineClosedError):
            while True:
                answers.append(case.engine.run(case.feeds))

    with ThreadPoolExecutor(4) as pool:
        runners = [pool.submit(run_until_closed) for _ in range(4)]
        under_way.wait()
        case.engine.close()
        for runner in runners:
            runner.result()
    for answer in answers:
        _same(answer, expected)
