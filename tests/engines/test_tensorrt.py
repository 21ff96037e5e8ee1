"""TensorRT on a GPU: the same faces as ONNX Runtime, for many threads at once, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from engines.base import EngineClosedError, PlanError, RuntimeMissingError, Tensors
from engines.batching import BatchingEngine
from engines.compare import agrees, detector_differences, embedder_differences
from engines.geometry.align import align
from engines.geometry.letterbox import letterbox
from engines.load import load_engine
from engines.onnxruntime import OnnxRuntimeEngine
from engines.plans import Precision, Profile
from engines.single_shot import SingleShotDetector
from tests.engines.gpu import NEEDS_GPU, options, planned

pytestmark = NEEDS_GPU

PHOTOS = ("astronaut.jpg", "grace_hopper.jpg", "group.jpg", "face.jpg")
DETECTORS = ("retinaface_mnet025/640x640.onnx", "retinaface_mnet025/192x192.onnx")
EMBEDDER = "mobilefacenet_256/112x112.onnx"
SIX = Profile(1, 4, 6)
MIB = 1 << 20


@pytest.fixture(scope="module")
def photos(samples: Path) -> list[Any]:
    return [cv2.imread(str(samples / name)) for name in PHOTOS]


@pytest.fixture(scope="module")
def crops(photos: list[Any], detector: SingleShotDetector) -> NDArray[np.uint8]:
    """The faces of the photos, (N, 112, 112, 3), of which there are more than six."""
    found = [align(photo, face, 112, 112) for photo in photos for face in detector.detect(photo).landmarks]
    assert found
    return np.stack((found * 6)[: max(6, len(found))])


@pytest.fixture(scope="module")
def embedder_plan(weights: Path) -> bytes:
    return planned(weights / EMBEDDER, "fp16", SIX)


@pytest.fixture
def embedding(embedder_plan: bytes) -> Iterator[Any]:
    """The shipped embedder in float16, six rows at most, in two execution contexts."""
    from engines.tensorrt import TensorRTEngine

    with closing(TensorRTEngine(embedder_plan, contexts=2, precision="fp16")) as engine:
        yield engine


def free_bytes() -> int:
    from engines import cuda

    with cuda.primary_context("cuda:0"):
        return int(cuda.pycuda().mem_get_info()[0])


def chunked(engine: Any, feeds: Tensors) -> dict[str, NDArray[Any]]:
    (name, rows), step = next(iter(feeds.items())), engine.max_batch_size
    parts = [engine.run({name: rows[start : start + step]}) for start in range(0, len(rows), step)]
    return {output: np.concatenate([part[output] for part in parts]) for output in parts[0]}


def same(given: Tensors, expected: Tensors) -> None:
    for name, array in expected.items():
        np.testing.assert_array_equal(given[name], array)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("file", DETECTORS)
def test_it_finds_the_faces_that_onnxruntime_finds(
    file: str, precision: Precision, weights: Path, photos: list[Any]
) -> None:
    from engines.tensorrt import TensorRTEngine

    height, width = map(int, Path(file).stem.split("x"))
    feeds = {"images": np.stack([letterbox(photo, height, width)[0] for photo in photos])}
    with closing(OnnxRuntimeEngine(weights / file, max_batch_size=len(photos))) as reference:
        expected = reference.run(feeds)
    with closing(TensorRTEngine(planned(weights / file, precision, SIX))) as engine:
        found = detector_differences(expected, engine.run(feeds))
    assert found["faces"]["matched"] >= 4
    assert agrees(found), found
    if precision == "fp32":
        assert found["iou"]["min"] >= 0.999
        assert found["landmarks_px"]["max"] <= 0.05


@pytest.mark.parametrize(("precision", "cosine"), [("fp32", 0.99999), ("fp16", 0.999)])
def test_it_knows_the_faces_that_onnxruntime_knows(
    precision: Precision, cosine: float, weights: Path, crops: NDArray[np.uint8]
) -> None:
    from engines.tensorrt import TensorRTEngine

    with closing(OnnxRuntimeEngine(weights / EMBEDDER, max_batch_size=len(crops))) as reference:
        expected = reference.run({"crops": crops})
    with closing(TensorRTEngine(planned(weights / EMBEDDER, precision, SIX))) as engine:
        found = embedder_differences(expected, chunked(engine, {"crops": crops}))
    assert found["not_finite"] == 0
    assert found["cosine"]["min"] >= cosine


def test_many_threads_get_the_answers_of_one_and_memory_stays(embedding: Any, crops: NDArray[np.uint8]) -> None:
    chunks = [{"crops": crops[start:end]} for start, end in ((0, 1), (1, 3), (3, 6), (0, 6), (2, 6), (5, 6))]
    expected = [embedding.run(chunk) for chunk in chunks]

    def ask(first: int) -> None:
        for turn in range(first, first + 2000):
            same(embedding.run(chunks[turn % len(chunks)]), expected[turn % len(chunks)])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda first: [embedding.run(chunk) for chunk in chunks], range(16)))
        free, resident = free_bytes(), psutil.Process().memory_info().rss
        list(pool.map(ask, range(16)))
    assert abs(free_bytes() - free) <= 2 * MIB
    assert psutil.Process().memory_info().rss - resident <= 32 * MIB


def test_batches_of_many_callers_are_answered_one_by_one(embedding: Any, crops: NDArray[np.uint8]) -> None:
    expected = embedding.run({"crops": crops[:6]})["embeddings"]
    batches: list[int] = []
    engine = BatchingEngine(embedding, on_batch=batches.append)

    def ask(turn: int) -> None:
        row = turn % 6
        given = engine.run({"crops": crops[row : row + 1]})["embeddings"]
        assert given.shape == (1, expected.shape[1])
        assert given.base is None
        assert float(given[0] @ expected[row]) >= 0.9999

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(4000)))
    assert sum(batches) == 4000
    assert max(batches) > 1


def test_calls_of_one_run_each_get_their_own(embedding: Any, crops: NDArray[np.uint8]) -> None:
    whole = embedding.run({"crops": crops[:6]})
    calls = [{"crops": crops[0:1]}, {"crops": crops[1:4]}, {"crops": crops[4:6]}]
    answers = embedding.run_each(calls)
    for answer, (start, end) in zip(answers, ((0, 1), (1, 4), (4, 6)), strict=True):
        same(answer, {name: array[start:end] for name, array in whole.items()})
        assert all(array.base is None and array.flags.writeable for array in answer.values())
    with pytest.raises(ValueError, match="together take 1 to 6 rows, not 7"):
        embedding.run_each([{"crops": crops[:6]}, {"crops": crops[:1]}])


def test_rows_between_two_batch_sizes_run_in_the_larger(embedding: Any, crops: NDArray[np.uint8]) -> None:
    embedding.run({"crops": crops[:6]})  # leaves rows behind that must not be seen
    three = embedding.run({"crops": crops[:3]})
    assert three["embeddings"].shape[0] == three["norms"].shape[0] == 3
    four = embedding.run({"crops": crops[:4]})
    same(three, {name: array[:3] for name, array in four.items()})


def test_a_graph_gives_what_its_kernels_give(embedding: Any, embedder_plan: bytes, crops: NDArray[np.uint8]) -> None:
    from engines.tensorrt import TensorRTEngine

    assert embedding.description["cuda_graphs"] == "1,2,4,6"
    with closing(TensorRTEngine(embedder_plan, contexts=1, graphs=False)) as plain:
        assert plain.description["cuda_graphs"].startswith("off")
        for rows in (1, 2, 3, 6):
            same(embedding.run({"crops": crops[:rows]}), plain.run({"crops": crops[:rows]}))


def test_it_says_what_really_runs(embedding: Any) -> None:
    described = embedding.description
    assert described["runtime"] == "tensorrt"
    assert described["device"] == "cuda:0"
    assert (described["precision"], described["profile"], described["contexts"]) == ("fp16", "1:4:6", "2")
    assert ("note" in described) == (not described["version"].startswith("8.6."))
    assert (embedding.max_batch_size, embedding.concurrency, embedding.fault) == (6, 2, None)


def test_measurements_count_what_was_asked_for(embedding: Any, embedder_plan: bytes) -> None:
    from engines.tensorrt import TensorRTEngine

    with closing(TensorRTEngine(embedder_plan, contexts=1, graphs=False)) as plain:
        for engine in (embedding, plain):
            for copies in (True, False):
                times = engine.measure(3, 7, copies)
                assert len(times) == 7
                assert all(0 < each < 1000 for each in times)
                assert engine.measure_throughput(6, 0.05, copies) > 0


def test_twenty_rounds_of_loading_leave_nothing_behind(embedder_plan: bytes, crops: NDArray[np.uint8]) -> None:
    from engines.tensorrt import TensorRTEngine

    free, resident = [], []
    for _ in range(20):
        with closing(TensorRTEngine(embedder_plan)) as engine:
            engine.run({"crops": crops[:2]})
        free.append(free_bytes())
        resident.append(psutil.Process().memory_info().rss)
    assert free[1] - free[-1] <= 2 * MIB
    assert resident[-1] - resident[4] <= 64 * MIB
    assert not [thread for thread in threading.enumerate() if thread.name == "tensorrt"]


def test_closing_answers_those_who_wait(embedding: Any, crops: NDArray[np.uint8]) -> None:
    expected = embedding.run({"crops": crops[:1]})
    outcomes: list[str] = []

    def ask() -> None:
        try:
            while True:
                same(embedding.run({"crops": crops[:1]}), expected)
                outcomes.append("answered")
        except EngineClosedError:
            outcomes.append("closed")

    with ThreadPoolExecutor(12) as pool:
        for _ in range(12):
            pool.submit(ask)
        while outcomes.count("answered") < 100:
            time.sleep(0.001)
        embedding.close()
    assert outcomes.count("closed") == 12


def test_load_engine_takes_the_plan_from_the_folder(weights: Path, embedder_plan: bytes, tmp_path: Path) -> None:
    with closing(load_engine(weights / EMBEDDER, options("fp16", SIX))) as engine:
        assert engine.description["precision"] == "fp16"
    with pytest.raises(PlanError, match="faceserve build"):
        load_engine(weights / EMBEDDER, options("fp16", Profile(1, 3, 5)))


def test_a_gpu_that_is_not_there_is_named(embedder_plan: bytes) -> None:
    from engines.tensorrt import TensorRTEngine

    with pytest.raises(RuntimeMissingError, match=r"cuda:99 was asked for, but the GPUs here are cuda:0 \("):
        TensorRTEngine(embedder_plan, device="cuda:99")


def test_several_engines_share_the_gpu(weights: Path, embedder_plan: bytes, crops: NDArray[np.uint8]) -> None:
    from engines.tensorrt import TensorRTEngine

    with ExitStack() as stack:
        first = stack.enter_context(closing(TensorRTEngine(embedder_plan)))
        expected = first.run({"crops": crops[:2]})
        other = TensorRTEngine(planned(weights / DETECTORS[1], "fp16", SIX))
        other.close()
        same(first.run({"crops": crops[:2]}), expected)
