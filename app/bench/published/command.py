"""`faceserve bench tables`: the flags."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.bench import report
from app.bench.engines import rows
from app.bench.engines.command import QUICK, Batches, Cache, Device, Level, Minutes, Out, PlanPrecision, Plans, Work
from app.bench.engines.entrants import Choice, Library
from app.bench.engines.measure import Effort
from app.bench.engines.options import EngineOptions
from app.bench.engines.rows import Row, UnknownRowError
from app.bench.engines.session import measured
from app.bench.processes import Cores
from app.bench.published.choice import choose
from app.bench.published.lines import lines
from app.bench.published.writing import comma_separated, markdown
from app.bench.results import conclude
from app.bench.statistics import Json
from app.build import model_store
from app.cli.options import settings_from

NAME = "tables"
Only = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A model, or NAME@HxW, or a known network; may be repeated.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Briefly, the shipped pair unless told: to see that it runs.")]


def tables(
    out: Out = Path("bench"),
    only: Only = None,
    batch: Batches = None,
    precision: Annotated[PlanPrecision, typer.Option(help="Of TensorRT's plans.")] = PlanPrecision.fp16,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of a row.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="About how long a round lasts.")] = 1.0,
    minutes: Minutes = None,
    work: Work = None,
    plans: Plans = None,
    timing_cache: Cache = None,
    opt_level: Level = None,
    device: Device = "cuda:0",
    quick: Quick = False,
) -> None:
    """Tell the speed of models as such figures are published: model, input, batch, images/s, average latency.

    All models of the store, or those named; a name that the store does not know is one of `bench engines`, made with
    random weights. TensorRT where it is, else ONNX Runtime. Written as tables.md, .csv, .json and .png.
    """
    try:
        chosen = _chosen(only or (), batch or (), quick=quick)
    except UnknownRowError as error:
        raise typer.BadParameter(str(error)) from None
    effort = QUICK if quick else Effort(rounds, seconds, minutes)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = work or Path(temporary)
        kept = str(plans or folder / "plans")
        cache = None if timing_cache is None else str(timing_cache)
        options = EngineOptions(
            "tensorrt", device, precision.value, contexts=1, plans=kept, timing_cache=cache, level=opt_level
        )
        _run(options, chosen, effort, folder, out)


def _chosen(names: Sequence[str], batches: Sequence[int], *, quick: bool) -> list[Row]:
    if quick and not names:
        return rows.choose(rows.QUICK, batches=batches)
    return choose(model_store(settings_from()).list(), names, batches)


def _run(options: EngineOptions, chosen: Sequence[Row], effort: Effort, work: Path, out: Path) -> None:
    """Measures row by row; what was found so far is written after each."""
    told: Json = {"machine": report.machine(Cores(None, None))}

    def keep(found: Json) -> None:
        told[NAME] = _told(found)
        report.write(told, [], out / f"{NAME}.json")
        (out / f"{NAME}.md").write_text(markdown(told[NAME], told["machine"]), "utf-8")
        (out / f"{NAME}.csv").write_text(comma_separated(told[NAME]), "utf-8")

    found: Json = {}
    for library in (Library.tensorrt, Library.onnxruntime):
        found = measured(Choice([library], options), chosen, effort, work, told["machine"], keep)
        if found["here"]:
            break
    if not found["rows"]:
        reasons = [f"{each['network']}: {each['reason']}" for each in found["left_out"]] or found["absent"].values()
        typer.echo("\n".join(["faceserve bench: nothing could be measured", *reasons]), err=True)
        raise typer.Exit(1)
    keep(found)
    typer.echo(f"written: {out / NAME}.md, {out / NAME}.csv")
    conclude(told, [], out, NAME, Console())


def _told(found: Json) -> Json:
    return {
        "rounds": found["rounds"],
        "seconds": found["seconds"],
        "here": found["here"],
        "absent": found["absent"],
        "left_out": found["left_out"],
        "lines": [line.as_json() for line in lines(found)],
    }
