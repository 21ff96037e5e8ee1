"""An identification run from photos to the report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.evaluation import report, sheet
from app.evaluation.groups import read_attributes
from app.evaluation.identification import figures, plots
from app.evaluation.identification.report import markdown
from app.evaluation.identification.tables import summary
from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.progress import bars
from app.evaluation.run import Method, Run, open_run
from app.evaluation.verification.folders import read_folder
from app.evaluation.verification.pairs import Sample
from app.evaluation.wording import Json
from app.settings import Settings

NAME = "identification"
PICTURES = {
    f"{NAME}_cmc.png": "CMC: how often the right one is among the first",
    f"{NAME}_open_set.png": "FNIR over FPIR",
    f"{NAME}_worst.png": "the worst mistakes, crops side by side",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags say; see `faceserve eval identification --help`."""

    gallery: Path
    probes: Path
    method: Method
    settings: Settings
    attributes: Path | None
    replicates: int
    out: Path
    cache: Path | None


def evaluate(asked: Asked) -> None:
    """Measures, writes the report and says where.

    Raises EvaluationError for what cannot be evaluated, EngineError where the models cannot run.
    """
    gallery, probes = _photos(asked)
    groups = read_attributes(asked.attributes).of(probes) if asked.attributes else None
    data = {"gallery": asked.gallery.resolve().name, "probes": asked.probes.resolve().name}
    with open_run(asked.settings, cache=asked.cache) as run, bars() as progress:
        asked.out.mkdir(parents=True, exist_ok=True)
        known = Sample(gallery, run.embed(gallery, asked.method, progress=progress))
        sought = Sample(probes, run.embed(probes, asked.method, progress=progress))
        progress("measuring", 0, 1)
        told = report.about(run, asked.method, asked.settings, data)
        told[NAME] = figures.measure(known, sought, run.embedder.thresholds, replicates=asked.replicates, groups=groups)
        sections = _worst(run, asked.method, known, sought, told[NAME]["worst"])
    report.conclude(told, markdown(told, PICTURES), summary(told), _drawings(told, sections), asked.out, NAME)


def _photos(asked: Asked) -> tuple[tuple[Photo, ...], tuple[Photo, ...]]:
    if asked.gallery.resolve() == asked.probes.resolve():
        raise EvaluationError(
            f"--gallery and --probes are both {asked.gallery}: every photo would find itself; put some of each "
            "person's photos into another folder"
        )
    gallery, probes = read_folder(asked.gallery), read_folder(asked.probes)
    if not {photo.person for photo in gallery} & {photo.person for photo in probes}:
        raise EvaluationError(
            f"no sub-folder of {asked.probes} is called like one of {asked.gallery}: a person has the same name in both"
        )
    return gallery, probes


def _worst(run: Run, method: Method, gallery: Sample, probes: Sample, worst: Json) -> list[sheet.Section]:
    titles = {
        "false_names": "Probes most alike to somebody else (gallery on the right)",
        "misses": "Probes least alike to the person they show (gallery on the right)",
    }
    return [
        sheet.Section(title, sheet.mistakes(run, method, worst[kind], probes.photos, gallery.photos))
        for kind, title in titles.items()
    ]


def _drawings(told: Json, sections: list[sheet.Section]) -> dict[str, report.Draw]:
    found = told[NAME]
    probes = f"{found['probes']['photos']:,} probes"
    line = report.subtitle(told, f"{found['gallery']['enrolled']:,} identities, {probes}")
    cmc, open_set, worst = PICTURES
    return {
        cmc: partial(plots.cmc, found, line),
        open_set: partial(plots.open_set, found, line),
        worst: partial(sheet.draw, sections),
    }
