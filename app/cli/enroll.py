"""`faceserve enroll`: pictures of people into the gallery, by the names of their files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.collections import seconds_of
from app.cli.failures import code_of, explain, refusals
from app.cli.options import Collection, DataDir, given, settings_from
from app.cli.pictures import Picture, find_pictures

if TYPE_CHECKING:
    from app.sdk import FaceClient
    from app.service import FaceService


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a picture; `reason` says why one was skipped, `warnings` what to look at in one that was not."""

    picture: Picture
    what: Literal["enrolled", "present", "skipped"]
    reason: str = ""
    warnings: tuple[str, ...] = ()


def enroll(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", exists=True, show_default=False)],
    collection: Collection = "default",
    strip_digits: Annotated[
        bool, typer.Option("--strip-digits", help="Drop digits at the end of file names: qys0.jpg is qys.")
    ] = False,
    warn_similar: Annotated[
        bool | None,
        typer.Option("--warn-similar/--no-warn-similar", help="Tell of faces that are also under another name."),
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Erase the identities after that time: 90s, 15m, 12h, 30d."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Enrol pictures, or folders of them; the file's name is the identity.

    alice.jpg, alice_0.jpg and alice_1.jpg show alice, and so does every picture in a subfolder named alice. A picture
    must show exactly one face; others are reported and skipped. Safe to repeat: what is enrolled already stays.
    """
    pictures = find_pictures(paths, strip_digits=strip_digits)
    if not pictures:
        raise typer.BadParameter("there is no file in " + ", ".join(map(str, paths)))
    ttl_s = _lifetime_s(ttl)
    settings = settings_from(data_dir=data_dir)
    from app.build import open_service
    from app.sdk import FaceClient

    options = given(collection=collection, warn_similar=warn_similar, ttl_s=ttl_s)
    with open_service(settings) as service:
        _ensure(service, collection)
        faces = FaceClient(service)
        outcomes = _with_progress(
            _enroll_all(pictures, lambda picture: _enroll_one(faces, picture, options), settings.pipeline_threads),
            len(pictures),
        )
    _summarise(outcomes)
    if all(outcome.what == "skipped" for outcome in outcomes):
        raise typer.Exit(1)


def _lifetime_s(ttl: str | None) -> float | None:
    from gallery.types import Terms

    try:
        return Terms(ttl_s=None if ttl is None else seconds_of(ttl)).ttl_s
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _ensure(service: FaceService, collection: str) -> None:
    from gallery.types import CollectionNotFoundError

    try:
        service.gallery.collection(collection)
    except CollectionNotFoundError:
        service.new_collection(collection)


def _enroll_one(faces: FaceClient, picture: Picture, options: dict[str, Any]) -> Outcome:
    try:
        answer = faces.enroll(picture.path.read_bytes(), identity=picture.identity, **options)
    except refusals() as error:
        return Outcome(picture, "skipped", f"{' '.join(explain(error))} ({code_of(error)})")
    warnings = tuple(
        f"{picture.identity} is as similar to {one['identity']} as one person ({one['similarity']:.2f})"
        for one in answer["warnings"] or ()
    )
    return Outcome(picture, "present" if answer["duplicate_of"] else "enrolled", warnings=warnings)


def _enroll_all(pictures: list[Picture], enroll_one: Callable[[Picture], Outcome], threads: int) -> Iterator[Outcome]:
    with ThreadPoolExecutor(threads, thread_name_prefix="enroll") as pool:
        yield from pool.map(enroll_one, pictures)


def _with_progress(outcomes: Iterator[Outcome], total: int) -> list[Outcome]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return list(track(outcomes, "Enrolling", total, console=console, transient=True, disable=not console.is_terminal))


def _summarise(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.what == "skipped":
            typer.echo(f"skipped {outcome.picture.path}: {outcome.reason}", err=True)
        for warning in outcome.warnings:
            typer.echo(f"look at {outcome.picture.path}: {warning}", err=True)
    counts = Counter(outcome.what for outcome in outcomes)
    people = len({outcome.picture.identity for outcome in outcomes if outcome.what == "enrolled"})
    typer.echo(
        f"enrolled {counts['enrolled']} (of {people} identities), already there {counts['present']}, "
        f"skipped {counts['skipped']}"
    )
