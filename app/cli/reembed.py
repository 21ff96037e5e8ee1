"""`faceserve gallery reembed`: collections carried over to another embedder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.options import DataDir, settings_from
from app.cli.output import progress, say

if TYPE_CHECKING:
    from app.embedders import Embedders
    from app.settings import Settings
    from engines.embedder import Embedder
    from gallery.gallery import Gallery

Crop = Literal["template", "box"]


def reembed(
    collection: Annotated[str, typer.Option(help="The collection to work on.")] = "default",
    everything: Annotated[bool, typer.Option("--all", help="All collections that another embedder made.")] = False,
    drop_without_crop: Annotated[
        bool, typer.Option("--drop-without-crop", help="Erase faces without a kept crop; their identities stay.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=4096, metavar="N", help="Crops embedded at a time.")] = 32,
    crops: Annotated[
        Crop | None,
        typer.Option(help="What the crops show, where the embedder they were cut for is not in the model store."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a collection's embeddings anew with FACESERVE_EMBEDDER, from the crops kept (FACESERVE_KEEP_CROPS).

    A line of JSON for each collection. Works beside a running service, which answers with the old embeddings until all
    at once there are the new ones. Safe to stop and to repeat: it goes on where it was.
    """
    settings = settings_from(data_dir=data_dir)
    if not settings.data_dir.is_dir():
        raise typer.BadParameter(f"there is no gallery in {settings.data_dir}: enrol someone first, or give --data-dir")
    from app.build import embedder_of, model_store
    from app.embedders import Embedders
    from app.galleries import open_gallery

    embedders = Embedders(model_store(settings), embedder_of(settings))
    with open_gallery(settings) as gallery, ExitStack() as stack:
        names = [found.name for found in gallery.collections()] if everything else [collection]
        work = _Work(settings, gallery, embedders, stack)
        told = [work.tell(name, crops, batch, drop=drop_without_crop, dry_run=dry_run) for name in names]
    if not all(told):
        raise typer.Exit(1)


class _Work:
    """Opens the embedder when the first collection needs it, and keeps it for the next."""

    def __init__(self, settings: Settings, gallery: Gallery, embedders: Embedders, stack: ExitStack) -> None:
        self._settings = settings
        self._gallery = gallery
        self._embedders = embedders
        self._stack = stack
        self._embedder: Embedder | None = None

    def tell(self, name: str, crops: Crop | None, batch: int, *, drop: bool, dry_run: bool) -> bool:
        """Does the work on one collection and says what was done; False if that was refused."""
        from gallery.types import GalleryError

        try:
            loaded, made_by = self._embedders.loaded, self._gallery.collection(name).embedder
            about = {"collection": name, "embedder": loaded.name, "was": self._embedders.called(made_by)}
            if made_by == loaded.digest:
                say(about | {"reembedded": False, "why": "it is of this embedder already"})
            else:
                say(about | self._done(name, crops, batch, drop=drop, dry_run=dry_run))
        except GalleryError as error:
            typer.echo(f"faceserve: {error}", err=True)
            return False
        return True

    def _done(self, name: str, crops: Crop | None, batch: int, *, drop: bool, dry_run: bool) -> dict[str, Any]:
        from app.reembedding import plan, target

        survey, cut = plan(self._gallery, name, self._embedders, told=crops, drop=drop)
        if dry_run:
            counts = {"faces": sum(survey.crop_sizes.values()), "dropped": survey.without_crop}
            return counts | {"reembedded": False, "why": "dry run"}
        with _progress(name) as on_progress, self._embedders.naming():
            aim = target(self._opened(), self._embedders.loaded, cut, batch, on_progress)
            done = self._gallery.reembed(name, aim, made_by=survey.collection.embedder, drop_without_crop=drop)
        return {"faces": done.faces, "dropped": done.dropped, "reembedded": True}

    def _opened(self) -> Embedder:
        from app.build import open_embedder

        if self._embedder is None:
            self._embedder = self._stack.enter_context(open_embedder(self._settings))
        return self._embedder


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    with progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
