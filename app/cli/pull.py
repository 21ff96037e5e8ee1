"""`faceserve models pull`: the one place where FaceServe goes to the net."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.model_lines import line_of
from app.cli.options import DataDir, settings_from
from app.cli.output import progress, say

if TYPE_CHECKING:
    from engines.downloads.fetch import Progress

Mirrors = Annotated[
    list[str] | None,
    typer.Option("--mirror", metavar="URL", help="A folder on the net to try first; may be repeated."),
]
Accepted = Annotated[
    list[str] | None,
    typer.Option("--accept-licence", metavar="LICENCE", help="Accept this licence; may be repeated."),
]
From = Annotated[
    Path | None,
    typer.Option("--from", exists=True, file_okay=False, help="Take the files from this folder; needs no network."),
]


def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False, help="Models or packs.")],
    accept_licence: Accepted = None,
    mirror: Mirrors = None,
    from_folder: From = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the downloads, under FACESERVE_DATA_DIR/downloads.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Import models anew that are there already.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Download models of the catalogue, check them and import them; a line of JSON for each.

    Downloads lie under FACESERVE_DATA_DIR/downloads until their models are imported; what broke off goes on where it
    stopped. What is in the store already is left alone.
    """
    from app.build import model_store
    from engines.catalogue import models_called
    from engines.downloads.pull import pull as pull_models
    from engines.downloads.sources import FromFolder, FromNet, Source

    settings = settings_from(data_dir=data_dir)
    models = list(dict.fromkeys(model for name in names for model in models_called(name)))
    with _bars() as tell:
        source: Source = FromFolder(from_folder) if from_folder else FromNet(mirror or (), progress=tell)
        for pulled in pull_models(
            models,
            source,
            into=model_store(settings),
            folder=settings.data_dir / "downloads",
            accepted=accept_licence or (),
            replace=replace,
            keep=keep,
            tell=lambda text: typer.echo(f"faceserve: {text}", err=True),
        ):
            say(line_of(pulled.spec) | {"pulled": pulled.fresh})


@contextmanager
def _bars() -> Iterator[Progress]:
    """A bar for each file."""
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries are in the answer, should they not help
    with progress(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as bars:
        tasks = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield tell
