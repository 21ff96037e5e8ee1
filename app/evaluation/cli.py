"""`faceserve eval` and its parts: `verification`, `identification`, `detection`."""

from __future__ import annotations

import typer

from app.evaluation.detection.command import detection
from app.evaluation.identification.command import identification
from app.evaluation.verification.command import verification

app = typer.Typer(
    help="Measure how well a pair of models does its work on your photos: tables, pictures, and thresholds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # so that the lines of a paragraph are joined
)
app.command()(verification)
app.command()(identification)
app.command()(detection)
