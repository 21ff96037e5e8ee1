"""`faceserve audit`: who enrolled, searched or erased what, and whether the record of it is whole."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import DataDir, settings_from
from app.cli.output import say

if TYPE_CHECKING:
    from app.audit.line import Link

cli = typer.Typer(help="Who enrolled, searched or erased what (FACESERVE_AUDIT).", invoke_without_command=True)


@cli.callback()
def audit(
    context: typer.Context,
    identity: Annotated[str | None, typer.Option(help="What concerns somebody of this name, or had it before.")] = None,
    subject: Annotated[str | None, typer.Option(help="The same, by the digest that stands in the lines.")] = None,
    collection: Annotated[str | None, typer.Option(help="In this collection (with --identity: else default).")] = None,
    deed: Annotated[str | None, typer.Option(help="enroll, search, erase, …")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From 2026-11-21, or 2026-11-21T18:00, on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to then, not including it.")] = None,
    who: Annotated[str | None, typer.Option(help="By this key's name, or cli:USER.")] = None,
    data_dir: DataDir = None,
) -> None:
    """The lines, oldest first, those that fit all that is asked; times without a zone are UTC.

    With --identity, deeds on the whole collection are shown too: exports, imports, its erasure.
    """
    if context.invoked_subcommand is not None:
        return
    from app.audit.query import Question, answers

    settings = settings_from(data_dir=data_dir)
    folder = _folder(settings.data_dir)
    if identity is not None:
        collection = collection or "default"
        subject = _subject(settings.data_dir, collection, identity)
    question = Question(subject, collection, deed, who, _time("--since", since), _time("--until", until))
    for line in answers(folder, question):
        say(dict(line))


@cli.command()
def verify(
    known: Annotated[
        list[str] | None,
        typer.Option("--known", metavar="N:DIGEST", help="An end noted earlier, to be there still; repeatable."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Whether the audit is whole; says where it is not, and ends with 1 then.

    Note the `end` elsewhere, and give it back as --known: who may write the files could write all of them anew.
    """
    from app.audit.verify import verify

    folder = _folder(settings_from(data_dir=data_dir).data_dir)
    verdict = verify(folder, [_link(each) for each in known or ()])
    end = None if verdict.last is None else str(verdict.last)
    say({"whole": verdict.whole, "lines": verdict.lines, "first": verdict.first, "end": end})
    for each in verdict.breaks:
        typer.echo(f"broken: {each}", err=True)
    for each in verdict.notes:
        typer.echo(f"note: {each}", err=True)
    if not verdict.whole:
        raise typer.Exit(1)


def _folder(data_dir: Path) -> Path:
    from app.audit.trail import FOLDER

    folder = data_dir / FOLDER
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no audit in {folder}: set FACESERVE_AUDIT, or give --data-dir")
    return folder


def _subject(data_dir: Path, collection: str, identity: str) -> str:
    """The digest of the name; says so where lines were written by another key."""
    from app.audit.query import keys_used
    from app.audit.subjects import open_subjects
    from app.audit.trail import FOLDER

    subjects = open_subjects(data_dir, make=False)
    if others := keys_used(data_dir / FOLDER) - {subjects.fingerprint}:
        typer.echo(f"note: whom lines of the keys {', '.join(sorted(others))} are about is not known here", err=True)
    return subjects.digest(collection, identity)


def _time(flag: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))  # which Python 3.10 does not read
    except ValueError:
        raise typer.BadParameter(f"{text!r}: expected a time such as 2026-11-21T18:00", param_hint=flag) from None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _link(text: str) -> Link:
    from app.audit.line import Link

    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise typer.BadParameter(f"{text!r}: expected what `end` was, such as 12:a3f0…", param_hint="--known")
    return Link(int(number), digest)
