"""`faceserve gallery key|encrypt|decrypt|rekey`: embeddings and crops sealed with FACESERVE_GALLERY_KEY."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import DataDir, settings_from
from app.cli.output import progress, say

if TYPE_CHECKING:
    from pydantic import SecretStr

    from app.audit.recorder import Deed
    from app.settings import Settings


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

    settings, folder = _asked(data_dir)
    key = _needed(settings.gallery_key, "FACESERVE_GALLERY_KEY")
    with _done("encrypt", settings) as deed, _progress("encrypting") as on_progress:
        deed.facts["rows"] = rows = encrypting.encrypt(folder, key, on_progress=on_progress)
    say({"gallery": str(folder), "encrypted": True, "rows_written": rows})


def decrypt(data_dir: DataDir = None) -> None:
    """Write the embeddings and crops of an encrypted gallery in the clear; FACESERVE_GALLERY_KEY opens it.

    Afterwards unset the key. Otherwise as `encrypt`.
    """
    from gallery.local.encryption import encrypting

    settings, folder = _asked(data_dir)
    key = _needed(settings.gallery_key, "FACESERVE_GALLERY_KEY")
    with _done("decrypt", settings) as deed, _progress("decrypting") as on_progress:
        deed.facts["rows"] = rows = encrypting.decrypt(folder, key, on_progress=on_progress)
    say({"gallery": str(folder), "encrypted": False, "rows_written": rows})


def rekey(
    rows: Annotated[
        bool, typer.Option("--rows", help="Write every row anew, with another data key; as slow as `encrypt`.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Change the key of an encrypted gallery from FACESERVE_GALLERY_OLD_KEY to FACESERVE_GALLERY_KEY, at once.

    Only the key that the rows are encrypted with is encrypted anew, and services go on. Start them with both keys
    first: one that has only the old key stops when it has to replace a worker. Whoever may have had the files and the
    old key together has the rows' key too: then use --rows, which stops services as `encrypt` does.
    """
    from gallery.local.encryption import encrypting

    settings, folder = _asked(data_dir)
    old = _needed(settings.gallery_old_key, "FACESERVE_GALLERY_OLD_KEY")
    new = _needed(settings.gallery_key, "FACESERVE_GALLERY_KEY")
    with _done("rekey", settings) as deed, _progress("encrypting") as on_progress:
        deed.facts["rows"] = written = encrypting.rekey(folder, old, new, rows=rows, on_progress=on_progress)
    say({"gallery": str(folder), "encrypted": True, "rows_written": written})
    typer.echo(
        "restart the services that have it open, with the new key: those that know only the old one soon", err=True
    )


def _asked(data_dir: Path | None) -> tuple[Settings, Path]:
    """The settings and the gallery's folder; BadParameter where there is no gallery, so that none is made."""
    settings = settings_from(data_dir=data_dir)
    folder = settings.data_dir / "gallery"
    if not (folder / "gallery.db").is_file():
        raise typer.BadParameter(f"there is no gallery in {settings.data_dir}: give --data-dir")
    return settings, folder


def _needed(given: SecretStr | None, name: str) -> bytes:
    from gallery.local.encryption.keys import parsed

    if given is None:
        raise typer.BadParameter(f"{name} is not set: `faceserve gallery key` prints a new key")
    return parsed(given.get_secret_value())


def _done(what: str, settings: Settings) -> AbstractContextManager[Deed]:
    """Recorded by the audit, if there is one: it is done past the gallery, which else has its deeds recorded."""
    from app.audit.opening import audited_deed

    return audited_deed(what, settings)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    with progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
