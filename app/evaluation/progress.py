"""How far an evaluation is: bars on the terminal, on stderr; nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.progress import TaskID

    from app.evaluation import run


@contextmanager
def bars() -> Iterator[run.Progress]:
    """A function to be told what is being done, how much of it is done, of how many; one bar for each thing.

    It may be called from any thread. The bars vanish at the end.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as drawn:
        tasks: dict[str, TaskID] = {}

        def show(doing: str, done: int, of: int) -> None:
            if doing not in tasks:
                tasks[doing] = drawn.add_task(doing, total=of)
            drawn.update(tasks[doing], completed=done, total=of)

        yield show
