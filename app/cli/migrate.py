"""`faceserve gallery migrate`: collections from one gallery into another, compared at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.opening import named, opened_at
from app.cli.options import settings_from
from app.cli.output import progress, say
from gallery.milvus.address import is_url

if TYPE_CHECKING:
    from app.migration import OnProgress
    from gallery.gallery import Gallery


def migrate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FROM",
            show_default=False,
            help="A data folder, a gallery's URL (`milvus://…`), or `-`: what FACESERVE_GALLERY or _DATA_DIR names.",
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="TO", show_default=False, help="The same; a folder is made.")],
    collection: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="This one; may be repeated (else all).", show_default=False)
    ] = None,
    into: Annotated[
        str | None, typer.Option(metavar="NAME", help="Under another name, where it is one collection.")
    ] = None,
    plain: Annotated[
        Literal["from", "to"] | None,
        typer.Option(help="The side that is not encrypted, where FACESERVE_GALLERY_KEY is for the other."),
    ] = None,
) -> None:
    """Copy collections into another gallery, record by record, then read both and compare.

    A line of JSON for each; exit code 1 where the two differ. Needs no model. Safe to stop and to repeat: what is there
    is skipped. Nothing is changed in FROM, which may be in use: what changes there meanwhile may need another run.
    """
    settings = settings_from()
    source, target = named(source, settings), named(target, settings)
    _refuse_one_and_the_same(source, target)
    keyless = settings.model_copy(update={"gallery_key": None})
    first, second = (keyless if plain == side else settings for side in ("from", "to"))
    with opened_at(source, first, made=False) as one, opened_at(target, second, made=True) as other:
        names = _chosen(one, collection, into)
        told = _migrated(one, other, names, into)
    if not all(told):
        raise typer.Exit(1)


def _refuse_one_and_the_same(source: str, target: str) -> None:
    folders = [Path(place).resolve() for place in (source, target) if not is_url(place)]
    if source == target or (len(folders) == 2 and folders[0] == folders[1]):
        raise typer.BadParameter("FROM and TO are one and the same gallery")


def _chosen(gallery: Gallery, asked: list[str] | None, into: str | None) -> list[str]:
    names = list(dict.fromkeys(asked or [found.name for found in gallery.collections()]))
    if not names:
        raise typer.BadParameter("there is no collection in FROM")
    if into is not None and len(names) > 1:
        raise typer.BadParameter(f"--into {into} is for one collection, and these are {len(names)}: add --collection")
    return names


def _migrated(source: Gallery, target: Gallery, names: list[str], into: str | None) -> list[bool]:
    """Whether each is the same on both sides now, which it says. What does not fit is refused before any is copied."""
    from app.migration import migrate as migrated
    from app.migration import refuse_unfit
    from gallery.types import GalleryError

    refuse_unfit(source, target, names, into)
    told = []
    for name in names:
        try:
            with _progress(name) as on_progress:
                done = migrated(source, target, name, into=into, on_progress=on_progress)
        except GalleryError as error:  # the others may fare better
            typer.echo(f"faceserve: collection {name!r}: {error}", err=True)
            told.append(False)
            continue
        say(asdict(done) | {"same": done.same})
        if not done.same:
            typer.echo(f"faceserve: {done.difference()}", err=True)
        told.append(done.same)
    return told


@contextmanager
def _progress(name: str) -> Iterator[OnProgress]:
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    with progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(name, total=None)
        before = ""

        def on_progress(doing: str, done: int, of: int) -> None:
            nonlocal before
            if doing != before:
                before = doing
                bar.reset(task, total=of, description=f"{name}: {doing}")
            bar.update(task, completed=done, total=of)

        yield on_progress
