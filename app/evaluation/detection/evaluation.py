"""A detection run from photos to the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.build import least_score
from app.evaluation import report
from app.evaluation.detection import figures, plots, sheet
from app.evaluation.detection.annotations import Annotated, read_annotations
from app.evaluation.detection.report import markdown, summary
from app.evaluation.detection.wider import protocol
from app.evaluation.detection.wider_truth import read_truth
from app.evaluation.groups import read_attributes
from app.evaluation.photos import EvaluationError
from app.evaluation.progress import bars
from app.evaluation.run import Method, Run, open_run
from app.evaluation.wording import Json
from app.settings import Settings
from engines.detector import Detections

NAME = "detection"
PICTURES = {
    f"{NAME}_precision.png": "precision over recall",
    f"{NAME}_sizes.png": "recall by size",
    f"{NAME}_worst.png": "the photos with most mistakes",
}


@dataclass(frozen=True, slots=True)
class Data:
    """Which photos, and what they show; `wider` is the folder of WIDER FACE's own ground truth, if any."""

    images: Path
    annotations: Path
    only: str
    first: int | None
    wider: Path | None

    def read(self) -> tuple[Annotated, ...]:
        return read_annotations(self.annotations, self.images, only=self.only, first=self.first)

    def as_json(self) -> Json:
        return {
            "images": self.images.resolve().name,
            "annotations": self.annotations.resolve().name,
            "only": self.only,
            "first": self.first,
            "wider_ground_truth": None if self.wider is None else self.wider.resolve().name,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags say; see `faceserve eval detection --help`."""

    data: Data
    ious: tuple[float, ...]
    least_score: float
    settings: Settings
    attributes: Path | None
    replicates: int
    out: Path
    cache: Path | None


def evaluate(asked: Asked) -> None:
    """Measures, writes the report and says where.

    Raises EvaluationError for what cannot be evaluated, EngineError where the models cannot run.
    """
    photos = asked.data.read()
    truth = None if asked.data.wider is None else read_truth(asked.data.wider)
    groups = read_attributes(asked.attributes).of([one.photo for one in photos]) if asked.attributes else None
    asked.out.mkdir(parents=True, exist_ok=True)
    with open_run(asked.settings, cache=asked.cache) as run, bars() as progress:
        served = _served_score(run, asked)
        found = run.detect([one.photo for one in photos], min_score=asked.least_score, progress=progress)
        progress("measuring", 0, 1)
        told = _about(run, asked)
        told[NAME] = figures.measure(
            photos, found, ious=asked.ious, least_score=asked.least_score, serving_score=served, groups=groups,
            replicates=asked.replicates,
        )  # fmt: skip
        by_name = {one.photo.name: each for one, each in zip(photos, found, strict=True)}
        told[NAME]["wider"] = None if truth is None else protocol(truth, by_name)
    draw = _drawings(told, _worst(photos, found, told[NAME], asked.settings.max_image_pixels))
    report.conclude(told, markdown(told, PICTURES), summary(told), draw, asked.out, NAME)


def _served_score(run: Run, asked: Asked) -> float:
    """The score from which the service takes a detection for a face."""
    served = least_score(asked.settings, run.detector)
    if asked.least_score > served:
        raise EvaluationError(
            f"--min-score {asked.least_score:g} is above the {served:g} that is served, so that its figures cannot be "
            "told: give a lower one (FACESERVE_MIN_SCORE sets what is served)"
        )
    return served


def _about(run: Run, asked: Asked) -> Json:
    """What the figures rest on: no embedder has a part in them."""
    told = report.about(run, Method(min_score=asked.least_score), asked.settings, asked.data.as_json())
    told["models"]["embedder"] = None
    return told | {"method": {"min_score": asked.least_score, "small_scale": asked.settings.small_scale}}


def _worst(
    photos: Sequence[Annotated], found: Sequence[Detections | None], told: Json, max_pixels: int
) -> list[sheet.Cell]:
    by_name = {one.photo.name: (one, each) for one, each in zip(photos, found, strict=True) if each is not None}
    iou, score = told["at_iou"][0]["iou"], told["serving_score"]
    return [
        sheet.cell(*by_name[row["photo"]], least_iou=iou, score=score, max_pixels=max_pixels) for row in told["worst"]
    ]


def _drawings(told: Json, cells: Sequence[sheet.Cell]) -> dict[str, report.Draw]:
    subtitle = report.subtitle(told, f"{told[NAME]['photos']:,} photos, {told[NAME]['faces']:,} faces")
    draws = (
        partial(plots.precision_recall, told[NAME], subtitle),
        partial(plots.recall_by_size, told[NAME], subtitle),
        partial(sheet.draw, cells),
    )
    return dict(zip(PICTURES, draws, strict=True))
