"""`faceserve gallery key|encrypt|decrypt|rekey`: embeddings and crops sealed with FACESERVE_GALLERY_KEY."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import DataDir, settings_from
from app.cli.output import progress, say


def register(cli: typer.Typer) -> None:
    """Adds the commands."""
    for command in (key, encrypt, decrypt, rekey):
        cli.command()(command)


def key() -> None:
    """Print a new random key for FACESERVE_GALLERY_KEY. Without it an encrypted gallery is lost: keep it elsewhere."""
    from gallery.local.encryption.keys import fresh

    typer.echo(fresh())


def encrypt(data_dir: DataDir = None) -> None:
    """Encrypt the embeddings and crops of the gallery that is there, with FACESERVE_GALLERY_KEY.

    All at once for whoever reads, and safe to repeat. Services that have it open answer 503 from then on: stop them
    before, and start them with the key. A new gallery is encrypted from the start where the key is set.
    """
    from gallery.local.encryption import encrypting

    folder, given, _ = _asked(data_dir)
    with _progress("encrypting") as on_progress:
        rows = encrypting.encrypt(folder, _needed(given, "FACESERVE_GALLERY_KEY"), on_progress=on_progress)
    say({"gallery": str(folder), "encrypted": True, "rows_written": rows})


def decrypt(data_dir: DataDir = None) -> None:
    """Write the embeddings and crops of an encrypted gallery in the clear; FACESERVE_GALLERY_KEY opens it.

    Afterwards unset the key. Otherwise as `encrypt`.
    """
    from gallery.local.encryption import encrypting

    folder, given, _ = _asked(data_dir)
    with _progress("decrypting") as on_progress:
        rows = encrypting.decrypt(folder, _needed(given, "FACESERVE_GALLERY_KEY"), on_progress=on_progress)
    say({"gallery": str(folder), "encrypted": False, "rows_written": rows})


def rekey(
    rows: Annotated[
        bool, typer.Option("--rows", help="Write every row anew, with another data key; as slow as `encrypt`.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Change the key of an encrypted gallery from FACESERVE_GALLERY_OLD_KEY to FACESERVE_GALLERY_KEY, at once.

    Only the key that the rows are encrypted with is encrypted anew, and services go on. Whoever may have had the files
    and the old key together has that one too: then use --rows, which stops them as `encrypt` does.
    """
    from gallery.local.encryption import encrypting

    folder, new, old = _asked(data_dir)
    keys = _needed(old, "FACESERVE_GALLERY_OLD_KEY"), _needed(new, "FACESERVE_GALLERY_KEY")
    with _progress("encrypting") as on_progress:
        written = encrypting.rekey(folder, *keys, rows=rows, on_progress=on_progress)
    say({"gallery": str(folder), "encrypted": True, "rows_written": written})


def _asked(data_dir: Path | None) -> tuple[Path, bytes | None, bytes | None]:
    """The gallery's folder, and its key and old key; BadParameter where there is no gallery, so that none is made."""
    from app.galleries import key_bytes

    settings = settings_from(data_dir=data_dir)
    folder = settings.data_dir / "gallery"
    if not (folder / "gallery.db").is_file():
        raise typer.BadParameter(f"there is no gallery in {settings.data_dir}: give --data-dir")
    return folder, key_bytes(settings.gallery_key), key_bytes(settings.gallery_old_key)


def _needed(given: bytes | None, name: str) -> bytes:
    if given is None:
        raise typer.BadParameter(f"{name} is not set: `faceserve gallery key` prints a new key")
    return given


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    with progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
