"""`faceserve bench` and its parts: `start`, `soak`, `engines`, `tables`, `load`, `pairs`, `gallery`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.bench import cold_start, report, soak, steps, throughput, wire
from app.bench.engines.command import engines
from app.bench.gallery.command import gallery
from app.bench.load.command import load
from app.bench.pairs.command import pairs
from app.bench.processes import BenchError, Cores
from app.bench.published.command import tables
from app.bench.results import conclude
from app.bench.statistics import Json, Target
from app.bench.throughput import Plan

SAMPLES = Path(__file__).parents[1] / "samples"
PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
QUICK = Plan(rounds=2, seconds=0.2)
STEP_CALLS, QUICK_CALLS = 20, 2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Out = Annotated[Path, typer.Option(file_okay=False, help="Folder for the JSON and the plot.")]
Photos = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="Folder of photos to work on.", show_default="the samples")
]
Quick = Annotated[bool, typer.Option("--quick", help="A few requests only: to see that it runs, not to measure.")]


app.command()(engines)
app.command()(tables)
app.command()(load)
app.command()(pairs)
app.command()(gallery)


class Part(str, Enum):
    """What `faceserve bench` can measure."""

    throughput = "throughput"
    wire = "wire"
    steps = "steps"


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    out: Out = Path("bench"),
    photos: Photos = SAMPLES,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which everyone has a turn.")] = 7,
    seconds: Annotated[float, typer.Option(min=0.1, help="About how long a turn lasts.")] = 4.0,
    only: Annotated[list[Part] | None, typer.Option(help="Measure this part only; may be repeated.")] = None,
    quick: Quick = False,
) -> None:
    """Measure the service on one core against the same work in a bare loop, its HTTP against a plain FastAPI route,
    and its code around the networks against the usual NumPy."""
    if context.invoked_subcommand is not None:
        return
    plan = QUICK if quick else Plan(rounds, seconds)
    chosen = _pictures(photos)
    work: dict[Part, Callable[[Cores, Path], tuple[Json, list[Target]]]] = {
        Part.throughput: lambda cores, folder: _with(
            throughput.targets, throughput.measure(chosen, cores, plan, folder)
        ),
        Part.wire: lambda cores, folder: _with(wire.targets, wire.measure(cores, plan, folder)),
        Part.steps: lambda cores, _: _with(
            steps.targets, steps.measure(cores, plan.rounds, QUICK_CALLS if quick else STEP_CALLS)
        ),
    }
    parts = only or list(Part)
    if not steps.is_here() and Part.steps in parts:
        typer.echo("steps are left out: their baseline is in tests/load, run this from a checkout", err=True)
        parts = [part for part in parts if part is not Part.steps]
    _measure({part.value: work[part] for part in parts}, out, "bench")


@app.command()
def start(
    out: Out = Path("bench"),
    rounds: Annotated[int, typer.Option(min=1, help="How often to start.")] = 5,
) -> None:
    """Measure the time from `faceserve serve` to ready, against bare imports of what it stands on."""
    _measure({"start": lambda _, folder: _with(cold_start.targets, cold_start.measure(rounds, folder))}, out, "start")


@app.command(name="soak")
def soak_(
    out: Out = Path("bench"),
    photos: Photos = SAMPLES,
    requests: Annotated[int, typer.Option(min=100, help="How many mixed requests.")] = 5000,
) -> None:
    """Send mixed requests and see whether the worker's memory grows."""
    chosen = _pictures(photos)
    _measure(
        {"soak": lambda cores, folder: _with(soak.targets, soak.measure(chosen, cores, requests, folder))}, out, "soak"
    )


def _measure(work: dict[str, Callable[[Cores, Path], tuple[Json, list[Target]]]], out: Path, name: str) -> None:
    """Does each part in a data folder of its own, then shows and writes what was found."""
    console, cores = Console(), Cores.choose()
    told: Json = {"machine": report.machine(cores)}
    promises: list[Target] = []
    try:
        for part, measure in work.items():
            with (
                console.status(f"measuring {part} …"),
                tempfile.TemporaryDirectory(prefix="bench-") as folder,
            ):
                told[part], found = measure(cores, Path(folder))
            promises += found
    except BenchError as error:
        typer.echo(f"faceserve bench: {error}", err=True)
        sys.exit(1)
    conclude(told, promises, out, name, console)


def _with(targets: Callable[[Json], list[Target]], told: Json) -> tuple[Json, list[Target]]:
    return told, targets(told)


def _pictures(folder: Path) -> Sequence[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise typer.BadParameter(f"{folder} has no photos ({', '.join(PICTURES)})")
    return found
