"""The composition root: settings -> engines, pipeline, gallery, service. The one place that knows them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from app.describe import Description, Pair
from app.pipeline import FaceChoice, Pipeline
from app.service import Defaults, FaceService
from app.settings import Settings
from engines.base import Engine, ModelError
from engines.batching import BatchingEngine
from engines.detector import Detector
from engines.embedder import Embedder
from engines.load import LoadOptions, load_engine
from engines.models import SHIPPED, ModelSpec, ModelStore
from gallery.gallery import Gallery

DEFAULT_COLLECTION = "default"
BatchObserver = Callable[[str, int], None]
log = logging.getLogger("faceserve")


@contextmanager
def open_service(settings: Settings, *, on_batch: BatchObserver | None = None) -> Iterator[FaceService]:
    """Loads and warms the engines, opens the gallery, and closes both at the end.

    `on_batch(engine, rows)` hears of every engine run, in the thread that ran it. Raises ModelError,
    RuntimeMissingError or GalleryError saying what is missing.
    """
    cv2.setNumThreads(1)  # requests run side by side already: OpenCV's own pool would only get in their way
    store = model_store(settings)
    pair = Pair(_spec(store, settings.detector, "detector"), _spec(store, settings.embedder, "embedder"))
    with ExitStack() as stack:
        pipeline, engines = stack.enter_context(_open_pipeline(settings, pair, on_batch))
        gallery = stack.enter_context(open_gallery(settings))
        gallery.ensure_collection(DEFAULT_COLLECTION, pair.embedder.digest, pipeline.dimension)
        defaults = Defaults(
            max_pixels=settings.max_image_pixels,
            min_score=settings.min_score,
            small_scale=settings.small_scale,
            keep_crops=settings.keep_crops,
        )
        yield FaceService(pipeline, gallery, Description(settings, store, pair, engines), pair, defaults)


def model_store(settings: Settings) -> ModelStore:
    """The shipped models and the imported ones; imports go into the data folder."""
    return ModelStore(SHIPPED, settings.data_dir / "models")


def open_gallery(settings: Settings) -> Gallery:
    """The gallery in the data folder, made if need be; the caller closes it."""
    return Gallery(settings.data_dir / "gallery", idempotency_ttl_s=3600 * settings.idempotency_ttl_h)


def _spec(store: ModelStore, name: str, task: str) -> ModelSpec:
    spec = store.get(name)
    if spec.task != task:
        raise ModelError(f"{name} is a {spec.task}, not a {task}: see `faceserve models list`")
    return spec


@contextmanager
def _open_pipeline(
    settings: Settings, pair: Pair, on_batch: BatchObserver | None
) -> Iterator[tuple[Pipeline, dict[str, dict[str, str]]]]:
    scales = pair.detector.files if settings.small_scale else pair.detector.files[:1]
    paths = {f"detector_{file.size[0]}x{file.size[1]}": file.path for file in scales}
    paths["embedder"] = pair.embedder.files[0].path
    engines: dict[str, Engine] = {}
    with ExitStack() as stack:
        for name, path in paths.items():
            engines[name] = _load(settings, path, None if on_batch is None else partial(on_batch, name))
            stack.callback(engines[name].close)
        described = {name: dict(engine.description) for name, engine in engines.items()}
        embedder = Embedder(engines.pop("embedder"))
        pipeline = Pipeline(Detector(list(engines.values())), embedder)
        stack.callback(pipeline.close)
        _warm(pipeline)
        yield pipeline, described


def _load(settings: Settings, path: Path, on_batch: Callable[[int], None] | None) -> Engine:
    options = LoadOptions(
        runtime=settings.runtime,
        device=settings.device,
        threads=settings.threads_per_run,
        concurrency=settings.concurrency,
    )
    engine = load_engine(path, options)
    return BatchingEngine(engine, max_waiting=settings.max_pending * settings.max_images, on_batch=on_batch)


def _warm(pipeline: Pipeline) -> None:
    """The first run of an engine allocates and tunes; no request should wait for that."""
    height, width = pipeline.crop_size
    pipeline.detect(np.zeros((height, width, 3), np.uint8), FaceChoice(min_score=0.5))
    pipeline.embed(np.zeros((1, height, width, 3), np.uint8))
