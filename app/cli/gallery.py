"""`faceserve gallery`: look into a collection, mend it, carry it elsewhere. Works beside a running service."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import collections, encrypt
from app.cli.migrate import migrate
from app.cli.opening import opened
from app.cli.options import Collection, DataDir, settings_from
from app.cli.output import say
from app.cli.reembed import reembed
from app.cli.tune import tune

if TYPE_CHECKING:
    from gallery.gallery import Gallery
    from gallery.types import Identity

cli = typer.Typer(help="Collections and who is in them: list, make, mend, erase, copy.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="IDENTITY", show_default=False)]


@cli.command("list")
def list_identities(collection: Collection = "default", data_dir: DataDir = None) -> None:
    """The identities, those enrolled first before later ones; a line of JSON for each."""
    with opened(data_dir) as gallery:
        for identity in _identities(gallery, collection):
            say(_shown(identity) | {"faces": len(identity.faces)})


@cli.command()
def show(identity: Name, collection: Collection = "default", data_dir: DataDir = None) -> None:
    """One identity with its faces, as JSON."""
    from dataclasses import asdict

    with opened(data_dir) as gallery:
        found = gallery.identity(collection, identity)
        say(_shown(found) | {"faces": [asdict(face) for face in found.faces]})


@cli.command()
def rename(
    identity: Name,
    new_name: Annotated[str, typer.Argument(show_default=False)],
    collection: Collection = "default",
    data_dir: DataDir = None,
) -> None:
    """Give an identity another name."""
    with opened(data_dir) as gallery:
        say(_shown(gallery.update_identity(collection, identity, new_name=new_name)))


@cli.command()
def delete(
    identity: Name,
    collection: Collection = "default",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Erase an identity with all its faces. There is no way back."""
    with opened(data_dir) as gallery:
        faces = len(gallery.identity(collection, identity).faces)
        if not yes:
            typer.confirm(f"Erase {identity} and {faces} faces from {collection}?", abort=True, err=True)
        say({"identity": identity, "faces_deleted": gallery.delete_identity(collection, identity)})


@cli.command()
def export(
    collection: Collection = "default",
    out: Annotated[Path | None, typer.Option(help="The file to write (else stdout).", dir_okay=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """A collection as NDJSON, embeddings included: a backup, or the way to another machine.

    In the clear, also where the gallery is encrypted: keep it accordingly.
    """
    from app.transfer import export_lines

    with opened(data_dir) as gallery:
        gallery.collection(collection)
        if out is None:
            sys.stdout.buffer.writelines(export_lines(gallery, collection))
            return
        part = out.with_name(out.name + ".part")
        with part.open("wb") as file:
            file.writelines(export_lines(gallery, collection))
        part.replace(out)


@cli.command("import")
def import_(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="What `export` wrote; `-` reads stdin.")],
    collection: Annotated[str | None, typer.Option(help="Into this collection (else the exported one's name).")] = None,
    data_dir: DataDir = None,
) -> None:
    """Read an export back. Safe to repeat: what is there already is skipped."""
    from app.build import embedder_of, model_store
    from app.embedders import Embedders
    from app.galleries import open_gallery
    from app.transfer import import_lines

    settings = settings_from(data_dir=data_dir)
    embedders = Embedders(model_store(settings), embedder_of(settings))
    with open_gallery(settings) as gallery, embedders.naming():
        say(import_lines(gallery, file, embedders.loaded.digest, collection))


cli.command()(reembed)
cli.command()(tune)
cli.command()(collections.create)
cli.command()(collections.collections)
cli.command()(collections.drop)
cli.command()(migrate)
encrypt.register(cli)


def _identities(gallery: Gallery, collection: str) -> Iterable[Identity]:
    cursor = None
    while True:
        page = gallery.identities(collection, cursor=cursor, limit=1000)
        yield from page.identities
        cursor = page.cursor
        if cursor is None:
            return


def _shown(identity: Identity) -> dict[str, Any]:
    from app.moments import moment_json

    told = {"identity": identity.name, "metadata": dict(identity.metadata), "created_at": identity.created_at}
    return told | {"expires_at": moment_json(identity.expires_at)}
