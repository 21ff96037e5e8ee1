"""The composition root: settings -> engines, pipeline, gallery, service. The one place that knows them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from app.batches import for_network
from app.defaults import Defaults
from app.describe import Description, Pair
from app.galleries import open_gallery
from app.pipeline import Pipeline
from app.planning import ensure_plans_for
from app.runtime import choose, load_options
from app.service import FaceService
from app.settings import Settings
from engines.base import DeviceLostError, Engine, ModelError
from engines.batching import BatchingEngine
from engines.crops import cropper_for
from engines.detector import open_detector
from engines.embedder import Embedder
from engines.families import Size, family_called
from engines.load import load_engine
from engines.models import SHIPPED, ModelSpec, ModelStore
from engines.shared.channel import Channel
from engines.shared.client import Seat
from gallery.gallery import Gallery
from gallery.local.index.recipe import Recipe
from gallery.types import ModelMismatchError

DEFAULT_COLLECTION = "default"
BatchObserver = Callable[[str, int], None]
log = logging.getLogger("faceserve")


@dataclass(frozen=True, slots=True)
class Batched:
    """A warm pipeline whose calls share runs of the engines, and what stands behind it.

    `runtime` tells what was `chosen`, the `device` and `why`; `engines` holds each engine's description by its name.
    """

    pipeline: Pipeline
    pair: Pair
    defaults: Defaults
    runtime: dict[str, str]
    engines: dict[str, dict[str, str]]


@contextmanager
def open_service(
    settings: Settings, *, place: int = 0, channels: Sequence[Channel] = (), on_batch: BatchObserver | None = None
) -> Iterator[FaceService]:
    """Loads and warms the engines, opens the gallery, and closes both at the end.

    The engines are those of `open_batched_pipeline`, which says what the arguments mean. Raises EngineError or
    GalleryError saying what is missing.
    """
    with ExitStack() as stack:
        batched = stack.enter_context(
            open_batched_pipeline(settings, place=place, channels=channels, on_batch=on_batch)
        )
        pair, pipeline = batched.pair, batched.pipeline
        if recipe := Recipe.parse(settings.index):
            recipe.require_dimension(pipeline.dimension)
        gallery = stack.enter_context(open_gallery(settings))
        _ensure_default(gallery, pair.embedder.digest, pipeline.dimension)
        description = Description(settings, model_store(settings), pair, batched.runtime, batched.engines)
        if warning := description.embedders.warning(gallery.collections()):
            log.warning(warning)
        yield FaceService(pipeline, gallery, description, pair, batched.defaults)


@contextmanager
def open_batched_pipeline(
    settings: Settings, *, place: int = 0, channels: Sequence[Channel] = (), on_batch: BatchObserver | None = None
) -> Iterator[Batched]:
    """The pipeline that serves, warm, with no gallery; its engines are closed at the end.

    `place` is the worker's among its like (see `app/places.py`). With `channels` the engines stay in an engine process,
    which this waits for. `on_batch(engine, rows)` hears of every engine run in this process, in the thread that ran it.
    Raises EngineError saying what is missing.
    """
    cv2.setNumThreads(1)  # requests run side by side already: OpenCV's own pool would only get in their way
    pair = _pair(settings, model_store(settings))
    with ExitStack() as stack:
        if channels:
            seat = Seat(channels[place % len(channels)], place // len(channels))
            stack.callback(seat.leave)
            engines: Mapping[str, Engine] = seat.engines
            about, is_serving = seat.about, seat.is_serving
        else:
            owned, about = stack.enter_context(open_engines(settings, place))
            engines, is_serving = _batching(settings, owned, on_batch), _always
        described = {name: dict(engine.description) for name, engine in engines.items()}
        pipeline = stack.enter_context(_open_pipeline(pair, engines, is_serving, beside=about["device"] == "cpu"))
        # An engine process that fails meanwhile is replaced: that must not end the worker, and with it the service.
        with suppress(DeviceLostError) if channels else nullcontext():
            _warm(engines)
        yield Batched(pipeline, pair, _defaults(settings, pair), about, described)


def _defaults(settings: Settings, pair: Pair) -> Defaults:
    return Defaults(
        max_pixels=settings.max_image_pixels,
        min_score=least_score(settings, pair.detector),
        small_scale=settings.small_scale,
        keep_crops=settings.keep_crops,
        warn_similar=settings.warn_similar,
    )


def model_store(settings: Settings) -> ModelStore:
    """The shipped models and the imported ones; imports go into the data folder."""
    return ModelStore(SHIPPED, settings.data_dir / "models")


def least_score(settings: Settings, detector: ModelSpec) -> float:
    """The detection score below which a face is dropped where a request does not say."""
    return family_called(detector.family).min_score if settings.min_score is None else settings.min_score


def _ensure_default(gallery: Gallery, embedder: str, dimension: int) -> None:
    """The default collection, made if need be; one of another embedder is for its users to be told of, with a 409."""
    with suppress(ModelMismatchError):
        gallery.ensure_collection(DEFAULT_COLLECTION, embedder, dimension)


@contextmanager
def open_embedder(settings: Settings) -> Iterator[Embedder]:
    """The configured embedder by itself, with no gallery. Raises EngineError saying what is missing."""
    networks = {"embedder": embedder_of(settings).files[0].path}
    with _opened(settings, networks) as (engines, _):
        yield Embedder(engines["embedder"])


def embedder_of(settings: Settings) -> ModelSpec:
    """What is known of the configured embedder; ModelError when it is none, or not in the store."""
    return _spec(model_store(settings), settings.embedder, "embedder")


def _spec(store: ModelStore, name: str, task: str) -> ModelSpec:
    spec = store.get(name)
    if spec.task != task:
        raise ModelError(f"{name} is a {spec.task}, not a {task}: see `faceserve models list`")
    return spec


def _pair(settings: Settings, store: ModelStore) -> Pair:
    return Pair(_spec(store, settings.detector, "detector"), _spec(store, settings.embedder, "embedder"))


def _networks(settings: Settings, pair: Pair) -> dict[str, Path]:
    """The canonical files by the names of their engines."""
    every = settings.small_scale or family_called(pair.detector.family).cascade
    scales = pair.detector.files if every else pair.detector.files[:1]
    networks = {_engine_name(file.size): file.path for file in scales}
    networks["embedder"] = pair.embedder.files[0].path
    return networks


def _engine_name(size: Size) -> str:
    """What the detector's engine for that size is called."""
    return f"detector_{size[0]}x{size[1]}"


@contextmanager
def open_engines(settings: Settings, place: int = 0) -> Iterator[tuple[dict[str, Engine], dict[str, str]]]:
    """The engines of the pair by name, and what was `chosen` for them, with the `device` and `why`; closed at the end.

    Their calls are not joined yet. `place` is this process's among its like. Raises EngineError saying what is missing.
    """
    networks = _networks(settings, _pair(settings, model_store(settings)))
    with _opened(settings, networks, place) as opened:
        yield opened


@contextmanager
def _opened(
    settings: Settings, networks: Mapping[str, Path], place: int = 0
) -> Iterator[tuple[dict[str, Engine], dict[str, str]]]:
    """See `open_engines`: of the canonical files by the names of their engines."""
    choice = choose(settings, list(networks.values()), place)
    log.info("the models run on %s, device %s: %s", choice.runtime, choice.device, choice.why)
    options = load_options(settings, choice)
    if choice.runtime == "tensorrt" and settings.auto_build:
        ensure_plans_for(list(networks.values()), options, on_progress=_logging_each_step())
    engines: dict[str, Engine] = {}
    with ExitStack() as stack:
        for name, path in networks.items():
            engines[name] = load_engine(path, for_network(options, path))
            stack.callback(engines[name].close)
        _warn({name: dict(engine.description) for name, engine in engines.items()})
        yield engines, {"chosen": choice.runtime, "device": choice.device, "why": choice.why}


def _batching(settings: Settings, engines: Mapping[str, Engine], on_batch: BatchObserver | None) -> dict[str, Engine]:
    return {
        name: BatchingEngine(
            engine,
            max_waiting=settings.max_pending * settings.max_images,
            on_batch=None if on_batch is None else partial(on_batch, name),
        )
        for name, engine in engines.items()
    }


@contextmanager
def _open_pipeline(
    pair: Pair, engines: Mapping[str, Engine], is_serving: Callable[[], bool], *, beside: bool
) -> Iterator[Pipeline]:
    scales = {size: engines[name] for size in pair.detector.sizes if (name := _engine_name(size)) in engines}
    family = family_called(pair.detector.family)
    detector = open_detector(family, list(scales.values()), sizes=list(scales), beside=beside)
    pipeline = Pipeline(detector, Embedder(engines["embedder"]), cropper_for(pair.embedder), is_serving=is_serving)
    try:
        yield pipeline
    finally:
        pipeline.close()


def _always() -> bool:
    return True


def _warn(described: dict[str, dict[str, str]]) -> None:
    """Logs, once, what the engines note against themselves."""
    noted = [each for each in described.values() if "note" in each]
    for note in sorted({f"{each['runtime']} {each['version']}: {each['note']}" for each in noted}):
        log.warning(note)


def _logging_each_step() -> Callable[[str, float], None]:
    said = ""

    def log_step(doing: str, _: float) -> None:
        nonlocal said
        if doing != said:
            said = doing
            log.info("plans: %s", doing)

    return log_step


def _warm(engines: Mapping[str, Engine]) -> None:
    """The first run of an engine allocates and tunes; no request should wait for that."""
    for engine in engines.values():
        rows = {spec.name: [1, *(side or 1 for side in spec.shape[1:])] for spec in engine.inputs}
        engine.run({spec.name: np.zeros(rows[spec.name], spec.dtype) for spec in engine.inputs})
