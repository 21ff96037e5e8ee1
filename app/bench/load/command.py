"""`faceserve bench load`: the flags."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.bench import report
from app.bench.load import photos as made
from app.bench.load.measure import Places, Plan, measure, targets
from app.bench.load.usage import gpus_here
from app.bench.pinned import cores_in
from app.bench.processes import BenchError, Cores
from app.bench.results import conclude
from app.bench.statistics import Json

NAME = "load"
SECRET = "FACESERVE_API_KEY"
QUICK = Plan([1], [2], clients=4, rounds=1, seconds=0.5)
ServerCores = Annotated[str | None, typer.Option(metavar="A-B", help="The service's cores (else the others).")]
ClientCores = Annotated[str | None, typer.Option(metavar="A-B", help="The clients' cores (else the last quarter).")]
Own = Annotated[
    list[Path] | None,
    typer.Option("--photo", exists=True, dir_okay=False, help="Measure on this one; may be repeated (else made ones)."),
]


def load(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the JSON and the plot.")] = Path("bench"),
    workers: Annotated[str, typer.Option(help="Numbers of workers to try.")] = "1,2,4,8",
    pipeline_threads: Annotated[str, typer.Option(help="Numbers of pipeline threads to try with each.")] = "4,8,16",
    clients: Annotated[int, typer.Option(min=1, help="Connections, each with a request under way.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each set of photos.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long a turn lasts.")] = 6.0,
    server_cores: ServerCores = None,
    client_cores: ClientCores = None,
    photo: Own = None,
    sizes: Annotated[str, typer.Option(help="Of the photos that are made, width x height.")] = "640x480,1280x960",
    faces: Annotated[str, typer.Option(help="On the photos that are made.")] = "1,5",
    quick: Annotated[bool, typer.Option("--quick", help="A few requests: to see that it runs.")] = False,
) -> None:
    """Load the service as FACESERVE_… sets it up, and tell how many requests it answers and what limits it.

    Every number of workers and pipeline threads is started anew, with a gallery of its own; plans and models stay.
    """
    plan = QUICK if quick else Plan(_numbers(workers), _numbers(pipeline_threads), clients, rounds, seconds)
    if quick:
        sizes, faces = "640x480", "1"
    places = places_for(server_cores, client_cores)
    here = report.machine(Cores(None, None)) | {"work_core": places.server, "client_core": places.clients}
    told: Json = {"machine": here, NAME: {"settings": _settings(), "gpus": gpus_here()}}
    console = Console()

    def keep() -> None:
        last = told[NAME]["combinations"][-1]
        report.write(told, [], out / f"{NAME}.json")
        rates = {name: round(row["requests_per_s"]["median"]) for name, row in last.get("rows", {}).items()}
        console.print(f"{last['workers']} × {last['pipeline_threads']}:", last.get("error", rates))

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        sets = {own.name: [own] for own in photo} if photo else _made(Path(folder), sizes, faces)
        try:
            measure(sets, plan, places, Path(folder), told[NAME], keep)
            promises = targets(told[NAME])
        except BenchError as error:
            typer.echo(f"faceserve bench load: {error}", err=True)
            raise typer.Exit(1) from None
    conclude(told, promises, out, NAME, console)


def _made(folder: Path, sizes: str, faces: str) -> made.Sets:
    wanted = []
    for size in sizes.split(","):
        width, _, height = size.partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            raise typer.BadParameter(f"--sizes {sizes}: expected width x height, such as 640x480,1280x960")
        wanted.append((int(width), int(height)))
    return made.make(folder, wanted, _numbers(faces))


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise typer.BadParameter(f"{text}: expected numbers from 1 up, such as 1,2,4")
    return list(map(int, parts))


def places_for(server: str | None, clients: str | None) -> Places:
    """What was asked for; else as many cores for the clients as a quarter of all, the last ones that the service
    leaves, and all others for the service. Where none is left they share."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) < 2 and not (server or clients):
        return Places(None, None)
    try:
        ours = cores_in(server) if server else []
        theirs = cores_in(clients) if clients else []
    except ValueError:
        raise typer.BadParameter("cores are given as in 0-11 or 0,2,4") from None
    if missing := sorted({*ours, *theirs} - set(allowed)):
        raise typer.BadParameter(f"this process may not use the cores {missing}, only {allowed}")
    theirs = theirs or [core for core in allowed if core not in ours][-max(1, len(allowed) // 4) :] or allowed
    ours = ours or [core for core in allowed if core not in theirs] or allowed
    return Places(",".join(map(str, ours)), theirs)


def _settings() -> Json:
    return {name: value for name, value in os.environ.items() if name.startswith("FACESERVE_") and name != SECRET}
