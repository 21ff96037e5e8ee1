"""`faceserve bench`: hands its flags on to `app/bench`, which alone knows them."""

from __future__ import annotations

from typing import Final

import typer

PASS_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def bench(context: typer.Context) -> None:
    """Measure this machine: the service against the bare loop. `faceserve bench --help` lists the flags."""
    from app.bench.cli import app

    app(args=context.args, prog_name="faceserve bench")
