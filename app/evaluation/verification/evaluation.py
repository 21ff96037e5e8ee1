"""A verification run from photos to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from app.evaluation import report, sheet
from app.evaluation.embeddings import Embeddings, embed_once
from app.evaluation.groups import read_attributes
from app.evaluation.progress import bars
from app.evaluation.run import Method, Progress, Run, open_run
from app.evaluation.verification import figures, plots, saving
from app.evaluation.verification.pairs import Sample, Scored
from app.evaluation.verification.report import markdown
from app.evaluation.verification.sets import Files, Sets, read_sets
from app.evaluation.verification.tables import summary
from app.evaluation.wording import Json
from app.settings import Settings

NAME = "verification"
PICTURES = {
    f"{NAME}_roc.png": "ROC: true accepts over false accepts",
    f"{NAME}_det.png": "DET: false rejects over false accepts",
    f"{NAME}_scores.png": "cosines of the pairs, with the thresholds",
    f"{NAME}_worst.png": "the worst mistakes, crops side by side",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags say; see `faceserve eval verification --help`."""

    files: Files
    method: Method
    settings: Settings
    attributes: Path | None
    replicates: int
    save: bool
    out: Path
    cache: Path | None


def evaluate(asked: Asked) -> None:
    """Measures, writes the report, says where, and saves the thresholds where that was asked for.

    Raises EvaluationError for what cannot be evaluated, EngineError where the models cannot run.
    """
    if asked.save:
        saving.refuse_what_does_not_serve(asked.method)
    sets = read_sets(asked.files)
    groups = read_attributes(asked.attributes).of(sets.pairs.photos) if asked.attributes else None
    with open_run(asked.settings, cache=asked.cache) as run, bars() as progress:
        asked.out.mkdir(parents=True, exist_ok=True)
        embeddings = embed_once(run, sets.photos(), asked.method, progress)
        told = report.about(run, asked.method, asked.settings, asked.files.as_json())
        told[NAME] = _measured(sets, embeddings, asked, groups, progress)
        told[NAME]["thresholds"] = saving.noted(told)
        sections = _worst(run, asked.method, sets, told[NAME]["worst"], progress)
    draw = _drawings(told, sections)
    report.conclude(told, markdown(told, PICTURES), summary(told), draw, asked.out, NAME)
    if asked.save:
        from app.build import model_store

        typer.echo(saving.save(told, model_store(asked.settings)))


def _measured(
    sets: Sets,
    embeddings: Embeddings,
    asked: Asked,
    groups: Mapping[str, Mapping[str, str]] | None,
    progress: Progress,
) -> Json:
    progress("measuring", 0, 1)
    chosen, name = sets.choose_on, asked.files.choose_on.name if asked.files.choose_on else ""
    told = figures.measure(
        sets.pairs,
        embeddings.of(sets.pairs.photos),
        table=None if sets.table is None else Sample(sets.table, embeddings.of(sets.table)),
        check=None if sets.check is None else Sample(sets.check, embeddings.of(sets.check)),
        choose_on=None if chosen is None else Scored.of(name, chosen, embeddings.of(chosen.photos)),
        replicates=asked.replicates,
        groups=groups,
    )
    progress("measuring", 1, 1)
    return told


def _worst(run: Run, method: Method, sets: Sets, worst: Json, progress: Progress) -> list[sheet.Section]:
    progress("cutting out the worst mistakes", 0, 1)
    photos = sets.pairs.photos
    titles = {
        "false_accepts": "Different people found most alike",
        "false_rejects": "The same person found least alike",
    }
    return [
        sheet.Section(title, sheet.mistakes(run, method, worst[kind], photos, photos)) for kind, title in titles.items()
    ]


def _drawings(told: Json, sections: list[sheet.Section]) -> dict[str, report.Draw]:
    data = told["data"]["images"] or told["data"]["pairs"]
    subtitle = report.subtitle(told, f"{data}, {told[NAME]['photos']:,} photos")
    drawn = (plots.roc, plots.det, plots.histograms)
    draw: dict[str, report.Draw] = {
        name: partial(each, told[NAME], subtitle) for name, each in zip(PICTURES, drawn, strict=False)
    }
    return draw | {f"{NAME}_worst.png": partial(sheet.draw, sections)}
