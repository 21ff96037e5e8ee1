"""`faceserve demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import say


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the annotated picture.")] = Path("demo"),
) -> None:
    """Enrol two people from sample photos, name them in a group picture, draw the result.

    The gallery is a temporary one: yours is not touched.
    """
    from app.demo import run_demo

    drawn = out / "group.jpg"
    say(run_demo(drawn))
    typer.echo(f"the picture with the names drawn in: {drawn}", err=True)
