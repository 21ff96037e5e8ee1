"""`faceserve gallery create`, `collections` and `drop`: whole collections. No engine is opened for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.opening import opened
from app.cli.options import DataDir, settings_from
from app.cli.output import say

if TYPE_CHECKING:
    from app.embedders import Embedders
    from app.settings import Settings

Name = Annotated[str, typer.Argument(metavar="COLLECTION", show_default=False)]
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LIFETIME = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)([smhd])")


def create(
    name: Name,
    scoring: Annotated[
        Literal["max", "mean"], typer.Option(help="By the best of an identity's faces, or by their mean.")
    ] = "max",
    max_identities: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most identities.")] = None,
    max_faces: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most faces of an identity.")] = None,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Lifetime of identities enrolled without one: 90s, 15m, 12h, 30d."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """A new, empty collection for FACESERVE_EMBEDDER, on terms that it keeps; the collection as JSON."""
    from app.galleries import open_gallery
    from gallery.types import Terms

    settings = settings_from(data_dir=data_dir)
    try:
        terms = Terms(scoring, max_identities, max_faces, None if ttl is None else seconds_of(ttl))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    embedders = _embedders(settings)
    loaded = embedders.loaded
    assert loaded.dimension is not None, f"{loaded.name} is an embedder without a dimension"
    with open_gallery(settings) as gallery:
        say(embedders.described(gallery.create_collection(name, loaded.digest, loaded.dimension, terms)))


def collections(data_dir: DataDir = None) -> None:
    """Every collection, its sizes, its terms and its embedder; a line of JSON for each."""
    with opened(data_dir) as gallery:
        embedders = _embedders(settings_from(data_dir=data_dir))
        for collection in gallery.collections():
            say(embedders.described(collection))


def drop(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Erase a collection with everyone in it. There is no way back."""
    with opened(data_dir) as gallery:
        found = gallery.collection(name)
        if not yes:
            held = f"{found.identities} identities and {found.faces} faces"
            typer.confirm(f"Erase collection {name} with {held}?", abort=True, err=True)
        gallery.delete_collection(name)
        say({"collection": name, "identities_deleted": found.identities, "faces_deleted": found.faces})


def seconds_of(lifetime: str) -> float:
    """Seconds of a number with its unit, such as 12h; ValueError for anything else."""
    read = _LIFETIME.fullmatch(lifetime)
    if read is None:
        raise ValueError(f"a lifetime is {lifetime[:40]!r}, expected a number and a unit: 90s, 15m, 12h or 30d")
    return float(read[1]) * _SECONDS[read[2]]


def _embedders(settings: Settings) -> Embedders:
    from app.build import embedder_of, model_store
    from app.embedders import Embedders

    return Embedders(model_store(settings), embedder_of(settings))
