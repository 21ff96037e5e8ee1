"""`faceserve bench gallery`: the flags, and the sizes in turn."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.bench import report
from app.bench.gallery.measure import measure, targets
from app.bench.memory import PROC
from app.bench.processes import BenchError, Cores
from app.bench.results import conclude

NAME = "gallery"
SIZES = ("100000x256", "100000x512", "1000000x256", "1000000x512")


def gallery(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the JSON and the plot.")] = Path("bench"),
    size: Annotated[
        list[str] | None, typer.Option(help="FACESxDIMENSION; may be repeated.", show_default="four")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which everyone has a turn.")] = 7,
    milvus_lite: Annotated[
        bool, typer.Option("--milvus-lite", help="Against milvus-lite too (pip install pymilvus milvus-lite).")
    ] = False,
    work: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Folder for the galleries.")] = None,
) -> None:
    """Search galleries of up to a million faces on one core, against `faiss.IndexFlatIP` as it comes and against a
    Python list of NumPy arrays. A million × 512 needs 5 GB of disk and 8 GB of memory."""
    console, cores = Console(), Cores.choose()
    told = {"machine": report.machine(cores), NAME: {"sizes": []}}
    try:
        if not (PROC / "self" / "smaps_rollup").exists():
            raise BenchError("memory is read from /proc, which this system does not have: run this on Linux")
        for rows, dimension in map(_parsed, size or SIZES):
            with console.status(f"{rows:,} × {dimension} …"), tempfile.TemporaryDirectory(dir=work) as folder:
                place = Path(folder) / "gallery"
                told[NAME]["sizes"].append(measure(rows, dimension, rounds, cores, place, lite=milvus_lite))
            report.write(told, [], out / f"{NAME}.json")
    except BenchError as error:
        typer.echo(f"faceserve bench gallery: {error}", err=True)
        raise typer.Exit(1) from None
    conclude(told, targets(told[NAME]), out, NAME, console)


def _parsed(size: str) -> tuple[int, int]:
    rows, _, dimension = size.partition("x")
    if not (rows.isdecimal() and dimension.isdecimal() and int(rows) and int(dimension)):
        raise typer.BadParameter(f"{size!r}: expected FACESxDIMENSION, such as {SIZES[0]}")
    return int(rows), int(dimension)
