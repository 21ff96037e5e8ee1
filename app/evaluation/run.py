"""Photos -> faces and embeddings through the pipeline that serves, with a cache: what every evaluation measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.build import Batched, open_batched_pipeline
from app.evaluation.cache import Cache, open_cache
from app.evaluation.keys import Keys, source_fingerprint
from app.evaluation.method import FaceRule, Method
from app.evaluation.photos import Photo
from app.evaluation.rows import Face
from app.evaluation.steps import Steps
from app.settings import Settings
from engines.base import Image
from engines.detector import Detections

__all__ = ["Embedded", "FaceRule", "Method", "Progress", "Run", "open_run", "silent"]

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""What is being done, how many photos are done, of how many. Called in the thread that asked, the number rising."""


def silent(_: str, __: int, ___: int) -> None:
    """No progress shown."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What n photos gave, in their order. The arrays belong to the caller.

    `embeddings` (n, D) float32 of unit length and `found` (n,) bool: a row without a face is zero. `faces` (n,) intp is
    how many were found; `boxes` (n, 4) float32 x1 y1 x2 y2 in px and `scores` (n,) float32 are the chosen face's, NaN
    where there is none, and all of an aligned photo and 1. `unreadable` names the photos that could not be read or
    decoded; they are not found either.
    """

    embeddings: NDArray[np.float32]
    found: NDArray[np.bool_]
    faces: NDArray[np.intp]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    unreadable: tuple[str, ...]


class Run:
    """The service's pipeline on photos, as many in hand at once as a worker has, their calls joined into batches.

    On a CPU its numbers depend neither on the threads nor on which calls were joined. Measured with ONNX Runtime 1.31
    and AVX-512: a row's outputs have the same bits at batch 1, 2, 3, 4, 8 and 16, for the shipped pair and for SCRFD,
    YuNet, the networks of MTCNN, ArcFace's ResNet-50 and FaceNet; for the shipped pair also at 1, 2 and 4 threads a
    run. On CUDA ONNX Runtime is given one row at a time.

    `runtime` says what really runs. Not for more than one thread.
    """

    def __init__(self, batched: Batched, cache: Cache, *, threads: int) -> None:
        """Owns neither. `threads` is how many photos are in hand at once."""
        self.detector, self.embedder = batched.pair.detector, batched.pair.embedder
        self.runtime = _facts(batched.engines) | {"why": batched.runtime["why"]}
        self._dimension = batched.pipeline.dimension
        self._steps = Steps(batched, Keys(batched, source_fingerprint()), cache)
        self._cache = cache
        self._threads = threads

    def embed(self, photos: Sequence[Photo], method: Method, *, progress: Progress = silent) -> Embedded:
        """One embedding a photo. What the cache holds is neither embedded nor detected, nor even decoded.

        Raises LandmarksMissingError where the embedder needs landmarks and the detector finds none, EvaluationError for
        an aligned photo of another size than the embedder's, and what engines and cache raise. What was done until then
        stays in the cache.
        """
        if not method.aligned:
            self._steps.require_crops()
        faces = self._each(partial(self._steps.face, method=method), photos, "Embedding", progress)
        return _embedded(photos, faces, self._dimension)

    def detect(
        self, photos: Sequence[Photo], *, min_score: float, progress: Progress = silent
    ) -> list[Detections | None]:
        """All faces of each photo with a score of `min_score` (0..1) or more, best first; None for a photo that cannot
        be read or decoded. The arrays belong to the caller. Raises what engines and cache raise."""
        return self._each(partial(self._steps.detections, min_score=min_score), photos, "Detecting", progress)

    def crop(self, photo: Photo, method: Method) -> Image | None:
        """What `embed` embeds of the photo, (h, w, 3) uint8 BGR, for people to look at: it is not kept. None where
        there is no face. Raises what `embed` raises."""
        return self._steps.crop(photo, method)

    def _each(self, work: Callable[[Photo], T], photos: Sequence[Photo], doing: str, progress: Progress) -> list[T]:
        results: list[T] = []
        progress(doing, 0, len(photos))
        with ThreadPoolExecutor(self._threads, thread_name_prefix="photo") as pool:
            try:
                for result in pool.map(work, photos):
                    results.append(result)
                    progress(doing, len(results), len(photos))
            except BaseException:
                pool.shutdown(cancel_futures=True)  # else all the rest would be worked on first
                raise
        self._cache.flush()
        return results


@contextmanager
def open_run(settings: Settings, *, cache: Path | None) -> Iterator[Run]:
    """The configured pair as it serves, without a gallery; closed at the end.

    `cache` is a file, made if need be, that several processes may share; with None nothing outlives the run. Raises
    EngineError saying what is missing, and EvaluationError for a file that is no cache.
    """
    # Settings for few requests must not refuse the photos in hand: each waits in the engines' line at most once.
    settings = settings.model_copy(update={"max_pending": max(settings.max_pending, settings.pipeline_threads)})
    with open_cache(cache) as kept, open_batched_pipeline(settings) as batched:
        yield Run(batched, kept, threads=settings.pipeline_threads)


def _facts(engines: dict[str, dict[str, str]]) -> dict[str, str]:
    """Runtime, version, device and so on, each that of all engines, or those of all."""
    names = dict.fromkeys(name for described in engines.values() for name in described)
    return {
        name: " / ".join(dict.fromkeys(described[name] for described in engines.values() if name in described))
        for name in names
    }


def _embedded(photos: Sequence[Photo], faces: Sequence[Face | None], dimension: int) -> Embedded:
    count = len(photos)
    result = Embedded(
        embeddings=np.zeros((count, dimension), np.float32),
        found=np.array([face is not None and face.faces > 0 for face in faces], bool),
        faces=np.array([0 if face is None else face.faces for face in faces], np.intp),
        boxes=np.full((count, 4), np.nan, np.float32),
        scores=np.full(count, np.nan, np.float32),
        unreadable=tuple(photo.name for photo, face in zip(photos, faces, strict=True) if face is None),
    )
    for row, face in enumerate(faces):
        if face is not None and face.faces:
            result.embeddings[row], result.boxes[row], result.scores[row] = face.embedding, face.box, face.score
    return result
