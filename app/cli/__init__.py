"""The command line: `faceserve`. JSON goes to stdout, what is meant for people to stderr.

Each command imports what it needs when it runs, so that help and mistakes answer at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.audit.actor import enter_command_line
from app.cli import audit, bench, build, compare, demo, enroll, faces, failures, gallery, models, plans, serve
from app.cli.eval import evaluate

cli = typer.Typer(
    name="faceserve",
    help="Face detection and recognition: a photo in, names out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"faceserve {version('faceserve')}")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


cli.command()(serve.serve)
cli.command()(faces.detect)
cli.command()(faces.recognize)
cli.command()(enroll.enroll)
cli.add_typer(gallery.cli, name="gallery")
cli.add_typer(audit.cli, name="audit")
cli.add_typer(models.cli, name="models")
cli.command()(build.build)
cli.add_typer(plans.cli, name="plans")
cli.command()(compare.compare)
cli.command()(demo.demo)
cli.command("eval", context_settings=bench.PASS_ON)(evaluate)
cli.command(context_settings=bench.PASS_ON)(bench.bench)


def main() -> None:
    """The `faceserve` script: what can go wrong becomes a plain line and exit code 1, or 2 for a wrong setting."""
    enter_command_line()
    try:
        cli()
    except SystemExit:  # the usual end, kept from the next line, whose imports are slow
        raise
    except failures.expected() as error:
        for line in failures.explain(error):
            typer.echo(f"faceserve: {line}", err=True)
        sys.exit(failures.exit_code(error))
