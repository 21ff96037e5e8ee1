"""The same pictures through two engines of one network: what they are fed, and how far their answers lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app import images
from app.contenders import REFERENCE, Contender
from app.errors import FaceNotDetectedError
from app.side_by_side import side_by_side
from engines.base import Engine, Image, PlanError, Tensors
from engines.cascade.differences import stage_differences
from engines.cascade.feeds import stage_feeds
from engines.cascade.parts import CROPS
from engines.compare import Json, agrees, detector_differences, embedder_differences, faces_in
from engines.crops import Cropper, Crops, cropper_for
from engines.families import Task, family_called
from engines.geometry.letterbox import letterbox, letterbox_scale
from engines.load import load_engine
from engines.models import SHIPPED, ModelFile, ModelSpec, ModelStore
from engines.single_shot import SingleShotDetector

SAMPLES: Final = Path(__file__).parent / "samples"
FINDER: Final = "retinaface_mnet025"
"""The detector that finds the faces an embedder is compared on."""
MAX_PIXELS: Final = 200_000_000


def read(photo: Path) -> Image:
    """The picture in a file; ImageError naming the file."""
    try:
        return images.decode(photo.read_bytes(), max_pixels=MAX_PIXELS)
    except images.ImageError as error:
        raise type(error)(f"{photo}: {error}") from error


def feeds(spec: ModelSpec, file: ModelFile, photos: Sequence[Path]) -> Tensors:
    """What `file`, one size of `spec`, is given for these photos: one letterboxed image a photo for a detector, for an
    embedder the crops of all faces that the shipped detector finds in them, and for a network of a cascade what the
    others, run by ONNX Runtime in float32, hand on to it.

    Raises ImageError for a file that is no picture, FaceNotDetectedError where an embedder gets no face at all, and
    ModelError where a cascade's network gets nothing.
    """
    pictures = (read(photo) for photo in photos)
    if family_called(spec.family).cascade:
        with ExitStack() as stack:
            engines = {each.size: stack.enter_context(closing(load_engine(each.path))) for each in spec.files}
            return stage_feeds(engines, file.size, pictures)
    if spec.task == "detector":
        return {"images": np.stack([letterbox(picture, *file.size)[0] for picture in pictures])}
    return {"crops": _crops(pictures, cropper_for(spec))}


def answers(engine: Engine, tensors: Tensors, rows: int | None = None) -> dict[str, NDArray[Any]]:
    """The engine's outputs for all rows of `tensors`, run in chunks of `rows` (else as many as the engine takes)."""
    step = min(rows or engine.max_batch_size, engine.max_batch_size)
    count = len(next(iter(tensors.values())))
    parts = [
        engine.run({name: array[start : start + step] for name, array in tensors.items()})
        for start in range(0, count, step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def differences(reference: Tensors, given: Tensors, task: Task) -> Json:
    """The differences of two answers (see engines/compare.py), and whether they keep the promise: `agrees`."""
    if task == "embedder":
        found = embedder_differences(reference, given)
    else:  # the networks of a cascade propose and judge: only what comes of them all are boxes
        found = (detector_differences if "boxes" in reference else stage_differences)(reference, given)
    return found | {"agrees": agrees(found)}


def parity(reference: Engine, engine: Engine, feeds: Tensors, task: Task) -> Json:
    """`differences` of what the two engines answer to the same feeds. Both stay open."""
    return differences(answers(reference, feeds), answers(engine, feeds), task)


def compared(
    spec: ModelSpec, file: ModelFile, photos: Sequence[Path], others: Sequence[Contender], rows: int | None = None
) -> tuple[Json, dict[str, Tensors]]:
    """One size of a model in every contender against the reference: what was found, and everybody's answers by label.

    A contender whose plan is missing is told in `left_out`. `rows` is as for `answers`. Raises what `feeds` does, and
    the errors of loading.
    """
    tensors = feeds(spec, file, photos)
    with closing(load_engine(file.path)) as engine:
        given: dict[str, Tensors] = {REFERENCE: answers(engine, tensors, rows)}
    found, left_out, of_crops = [], [], file.size in CROPS and spec.task == "detector"
    for other in others:
        try:
            with other.opened(file.path) as engine:
                given[other.label], runs_on = answers(engine, tensors, rows), dict(engine.description)
        except PlanError as error:
            left_out.append({"engine": other.label, "reason": str(error)})
            continue
        row = differences(given[REFERENCE], given[other.label], spec.task)
        for face in (*row.get("unmatched", ()), *row.get("apart", ())):
            face["photo"] = f"crop {face['image']}" if of_crops else photos[face["image"]].name
        found.append({"engine": other.label, "precision": other.precision, "runs_on": runs_on} | row)
    told = {"model": spec.name, "task": spec.task, "size": list(file.size), "reference": REFERENCE}
    return told | {"photos": [photo.name for photo in photos], "compared": found, "left_out": left_out}, given


def drawn(file: ModelFile, photo: Path, row: int, given: Mapping[str, Tensors]) -> bytes:
    """A JPEG of the photo with the faces of everybody's answers (a detector's, `row` is the photo's), side by side."""
    image = read(photo)
    zoom = letterbox_scale(image, *file.size)
    return side_by_side(image, {label: faces_in(outputs, row).scaled(1 / zoom) for label, outputs in given.items()})


def _crops(pictures: Iterator[Image], cropper: Cropper) -> Crops:
    with ExitStack() as stack:
        detector = SingleShotDetector([load_engine(file.path) for file in ModelStore(SHIPPED).get(FINDER).files])
        stack.callback(detector.close)
        found = [crop for picture in pictures for crop in cropper.cut(picture, detector.detect(picture))]
    if not found:
        raise FaceNotDetectedError("no face was found in the photos, so there is nothing to embed: give other photos")
    return np.stack(found)
