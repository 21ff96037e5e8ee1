"""The end of every measurement: tables on the terminal, a JSON file and a picture beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from app.bench import plot, report
from app.bench.statistics import Json, Target


def conclude(told: Json, promises: Sequence[Target], out: Path, name: str, console: Console) -> None:
    """Shows what was found and writes `name.json` and `name.png` into the folder `out`."""
    report.show(told, promises, console)
    report.write(told, promises, out / f"{name}.json")
    typer.echo(f"written: {out / name}.json")
    try:
        plot.draw(told, out / f"{name}.png")
        typer.echo(f"written: {out / name}.png")
    except plot.PlotMissingError as error:
        typer.echo(str(error), err=True)
