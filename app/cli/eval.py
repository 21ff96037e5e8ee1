"""`faceserve eval`: hands its flags on to `app/evaluation`, which alone knows them."""

from __future__ import annotations

import typer


def evaluate(context: typer.Context) -> None:
    """Measure accuracy on photos of known people or faces. `faceserve eval --help` lists what, and the flags."""
    from app.evaluation.cli import app

    app(args=context.args, prog_name="faceserve eval")
