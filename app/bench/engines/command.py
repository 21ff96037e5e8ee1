"""`faceserve bench engines`: the flags."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

from app.bench import report
from app.bench.engines import rows
from app.bench.engines.entrants import Choice, Library
from app.bench.engines.measure import Effort
from app.bench.engines.options import EngineOptions
from app.bench.engines.rows import Row, UnknownRowError
from app.bench.engines.session import measured
from app.bench.engines.targets import targets
from app.bench.processes import Cores
from app.bench.results import conclude
from app.bench.statistics import Json

if TYPE_CHECKING:
    from engines.plans import Precision

NAME = "engines"
QUICK = Effort(rounds=2, seconds=0.2)


class PlanPrecision(str, Enum):
    """What TensorRT's plans can be built in."""

    fp16 = "fp16"
    mixed = "mixed"
    fp32 = "fp32"


Out = Annotated[Path, typer.Option(file_okay=False, help="Folder for the JSON and the plot.")]
Work = Annotated[Path | None, typer.Option(file_okay=False, help="Keeps the networks that are made (else temporary).")]
Plans = Annotated[Path | None, typer.Option(file_okay=False, help="Keeps TensorRT's plans (else in the work folder).")]
Cache = Annotated[Path | None, typer.Option(dir_okay=False, help="TensorRT's timing cache (else with the plans).")]
Level = Annotated[int | None, typer.Option(min=0, max=5, help="Builder optimisation level of new plans.")]
Only = Annotated[list[str] | None, typer.Option(metavar="NAME", help="This network, or NAME@HxW; may be repeated.")]
Batches = Annotated[list[int] | None, typer.Option("--batch", min=1, help="In place of the table's; may be repeated.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds in which everyone has a turn.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="About how long a turn lasts.")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Begin no further row after so long.")]
Precisions = Annotated[
    list[PlanPrecision] | None, typer.Option("--precision", help="Of the plans; a second one comes last, by itself.")
]
Libraries = Annotated[list[Library] | None, typer.Option("--runtime", help="Measure this one; may be repeated.")]
Device = Annotated[str, typer.Option(help="The GPU for TensorRT and ONNX Runtime.")]
Contexts = Annotated[int, typer.Option(min=1, help="Runs at once of TensorRT.")]
TorchPython = Annotated[Path | None, typer.Option(help="A Python that has PyTorch (else this one, or python3).")]
Half = Annotated[bool, typer.Option("--half", help="PyTorch in float16 too.")]
Quick = Annotated[bool, typer.Option("--quick", help="The shipped pair, briefly: to see that it runs, not to measure.")]


def engines(
    out: Out = Path("bench"),
    work: Work = None,
    plans: Plans = None,
    timing_cache: Cache = None,
    opt_level: Level = None,
    only: Only = None,
    batch: Batches = None,
    rounds: Rounds = 5,
    seconds: Seconds = 2.0,
    minutes: Minutes = None,
    precision: Precisions = None,
    runtime: Libraries = None,
    device: Device = "cuda:0",
    contexts: Contexts = 2,
    torch_python: TorchPython = None,
    half: Half = False,
    quick: Quick = False,
) -> None:
    """Measure the networks alone: TensorRT, ONNX Runtime and PyTorch in turns, those of them that can run here."""
    try:
        chosen = rows.choose(rows.QUICK if quick and not only else rows.ALL, only or (), batch or ())
    except UnknownRowError as error:
        raise typer.BadParameter(str(error)) from None
    effort = QUICK if quick else Effort(rounds, seconds, minutes)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = work or Path(temporary)
        options = EngineOptions(
            runtime="tensorrt",
            device=device,
            contexts=contexts,
            plans=str(plans or folder / "plans"),
            timing_cache=str(timing_cache) if timing_cache else None,
            level=opt_level,
        )
        plan_precisions = [each.value for each in dict.fromkeys(precision or [PlanPrecision.fp16])]
        precisions = cast("list[Precision]", plan_precisions)
        choice = Choice(runtime or list(Library), options, precisions, torch_python, half)
        _run(choice, chosen, effort, folder, out)


def _run(choice: Choice, chosen: Sequence[Row], effort: Effort, work: Path, out: Path) -> None:
    """Measures row by row; what was found so far is in the JSON file after each."""
    console, told = Console(), {"machine": report.machine(Cores(None, None))}

    def keep(found: Json) -> None:
        report.write(told | {NAME: found}, targets(found), out / f"{NAME}.json")

    told[NAME] = measured(choice, chosen, effort, work, told["machine"], keep)
    conclude(told, targets(told[NAME]), out, NAME, console)
