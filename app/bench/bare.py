"""The bare loop: what the service does to a photo, in one thread of one process without HTTP, base64 or JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app import images
from app.bench.processes import answer_each
from app.bench.statistics import Json
from app.build import DEFAULT_COLLECTION, least_score, model_store
from app.cli.options import settings_from
from app.pipeline import FaceChoice, Pipeline
from app.runtime import choose, load_options
from app.settings import Settings
from engines.base import Engine, Image
from engines.crops import cropper_for
from engines.embedder import Embedder
from engines.geometry.letterbox import letterbox
from engines.load import load_engine
from engines.single_shot import SingleShotDetector
from gallery.local.gallery import LocalGallery

THRESHOLD = 0.4


@dataclass(frozen=True, slots=True)
class Alone:
    """A photo's file with the tensors that its networks take: (engine, input's name, tensor) of each run."""

    data: bytes
    runs: list[tuple[Engine, str, NDArray[np.uint8]]]

    def run(self) -> None:
        """Decodes the photo and runs the networks, nothing between."""
        cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_COLOR)
        for engine, name, tensor in self.runs:
            engine.run({name: tensor})


class BareLoop:
    """Straight calls of the pipeline's steps. The engines are the service's, without the batching in front of them."""

    def __init__(
        self, settings: Settings, detectors: Sequence[Engine], embedder: Engine, gallery: LocalGallery
    ) -> None:
        self._settings = settings
        self._detectors, self._embedder = detectors, embedder
        store = model_store(settings)
        model = store.get(settings.embedder)
        self._pipeline = Pipeline(SingleShotDetector(detectors), Embedder(embedder), cropper_for(model))
        self._gallery = gallery
        self._digest = model.digest
        self._min_score = least_score(settings, store.get(settings.detector))

    def recognize(self, data: bytes, *, small_scale: bool) -> int:
        """Decode, detect, align, embed, search; returns how many faces were searched for."""
        image = images.decode(data, max_pixels=self._settings.max_image_pixels)
        faces = self._pipeline.detect(image, self._choice(small_scale))
        embeddings, _ = self._pipeline.embed(self._pipeline.crops(image, faces))
        found = self._gallery.search(
            DEFAULT_COLLECTION, embeddings, embedder=self._digest, top_k=1, threshold=THRESHOLD
        )
        return len(found)

    def alone(self, data: bytes) -> Alone:
        """The same tensors that `recognize` gives its networks for this photo, made beforehand."""
        image = images.decode(data, max_pixels=self._settings.max_image_pixels)
        runs = [(engine, "images", _fitted(image, engine)) for engine in self._detectors]
        crops = self._pipeline.crops(image, self._pipeline.detect(image, self._choice(small_scale=True)))
        step = self._embedder.max_batch_size
        runs += [(self._embedder, "crops", crops[start : start + step]) for start in range(0, len(crops), step)]
        return Alone(data, runs)

    def close(self) -> None:
        self._pipeline.close()

    def _choice(self, small_scale: bool) -> FaceChoice:
        return FaceChoice(min_score=self._min_score, small_scale=small_scale)


def _fitted(image: Image, engine: Engine) -> Image:
    _, height, width, _ = engine.inputs[0].shape
    assert height is not None
    assert width is not None
    return letterbox(image, height, width)[0][np.newaxis]


@contextmanager
def open_bare_loop(settings: Settings) -> Iterator[BareLoop]:
    """Loads what the service would load."""
    cv2.setNumThreads(1)
    store = model_store(settings)
    with ExitStack() as stack:
        paths = [file.path for file in (*store.get(settings.detector).files, store.get(settings.embedder).files[0])]
        options = load_options(settings, choose(settings, paths))
        *detectors, embedder = [load_engine(path, options) for path in paths]
        loop = BareLoop(settings, detectors, embedder, stack.enter_context(LocalGallery(settings.data_dir / "gallery")))
        stack.callback(loop.close)
        yield loop


def timed(work: Callable[[int], object], photos: int, count: int) -> Json:
    """`count` calls of `work` with the number of a photo, in turns: seconds in all, milliseconds of each.

    `core_share` is how much of its core the loop had, which never waits: below 1, something else ran there.
    """
    latencies_ms = []
    cpu_start = time.process_time()
    start = last = time.perf_counter()
    for number in islice(cycle(range(photos)), count):
        work(number)
        now = time.perf_counter()
        latencies_ms.append(1e3 * (now - last))
        last = now
    core_share = (time.process_time() - cpu_start) / (last - start)
    return {"seconds": last - start, "latencies_ms": latencies_ms, "core_share": core_share}


def main() -> None:
    """Answers `{"do": "recognize" | "one_scale" | "alone", "count"}` with seconds and latencies."""
    photos = [Path(name).read_bytes() for name in sys.argv[1:]]
    with open_bare_loop(settings_from()) as loop:
        alone = [loop.alone(data) for data in photos]
        work: dict[str, Callable[[int], object]] = {
            "recognize": lambda number: loop.recognize(photos[number], small_scale=True),
            "one_scale": lambda number: loop.recognize(photos[number], small_scale=False),
            "alone": lambda number: alone[number].run(),
        }
        answer_each(lambda asked: timed(work[asked["do"]], len(photos), asked["count"]))


if __name__ == "__main__":
    main()
