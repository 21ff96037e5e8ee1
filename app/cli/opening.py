"""The galleries that commands work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.cli.options import settings_from
from gallery.milvus.address import is_url

if TYPE_CHECKING:
    from app.settings import Settings
    from gallery.gallery import Gallery


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Gallery]:
    """The configured gallery, for the length of a block; BadParameter where there is none, so that none is made."""
    from app.galleries import open_gallery

    settings = settings_from(data_dir=data_dir)
    if settings.gallery is None and not settings.data_dir.is_dir():
        raise typer.BadParameter(f"there is no gallery in {settings.data_dir}: enrol someone first, or give --data-dir")
    with open_gallery(settings) as gallery:
        yield gallery


@contextmanager
def opened_at(place: str, settings: Settings, *, made: bool) -> Iterator[Gallery]:
    """The gallery in a data folder or at a URL; `made` allows a folder without one, else that is a BadParameter.

    What is done to one in a folder is recorded by the audit in that folder, where the settings want any.
    """
    from app.audit.opening import audited
    from app.galleries import gallery_at

    if not is_url(place):
        if not made and not (Path(place) / "gallery").is_dir():
            raise typer.BadParameter(f"there is no gallery in {place}: give a data folder, or the URL of a gallery")
        settings = settings.model_copy(update={"data_dir": Path(place)})
    with audited(gallery_at(place, settings), settings) as gallery:
        yield gallery


def named(place: str, settings: Settings) -> str:
    """The data folder or URL that is meant, `-` being the configured gallery: so that no password need be an
    argument, which everybody on the machine can read."""
    return settings.gallery_place if place == "-" else place
