"""What commands write: JSON on stdout, and on stderr, where a person looks, how far they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


def say(answer: dict[str, Any]) -> None:
    """Prints one object and flushes, so that a reader down the pipe sees it at once: a line for programs, indented and
    coloured where a person looks."""
    import orjson

    text = orjson.dumps(answer).decode()
    if sys.stdout.isatty():
        from rich import print_json

        print_json(text)
    else:
        print(text, flush=True)


def progress(*columns: ProgressColumn) -> Progress:
    """For the length of a block: what is done, a bar and `columns` for each task, on stderr; nothing if that is no
    terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    return Progress(
        *(TextColumn("{task.description}"), BarColumn(), *columns),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # else the answers would go where the bars are
    )
