"""One measurement from beginning to end: who can take part, row after row, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from app.bench.engines import tables
from app.bench.engines.entrants import Choice, entrants
from app.bench.engines.measure import Contest, Effort
from app.bench.engines.rows import Row
from app.bench.statistics import Json


def measured(
    choice: Choice, chosen: Sequence[Row], effort: Effort, work: Path, machine: Json, keep: Callable[[Json], None]
) -> Json:
    """What the runtimes of `choice` made of the rows: `here`, `absent`, `rows` and `left_out`.

    Networks and plans are made in the folder `work`. `machine` gets the GPU's name where there is one; `keep` hears of
    everything found so far after each row, which is told on standard error too.
    """
    contest = Contest(effort, work)

    def tell(row: Json) -> None:
        typer.echo(f"measured: {tables.summary(row)}", err=True)
        keep(contest.told)

    with entrants(choice) as found:
        contest.told |= {"here": found.here, "absent": found.absent}
        for here in found.here.values():
            machine |= {"gpu": here["gpu"]} if "gpu" in here else {}
        for name, reason in found.absent.items():
            typer.echo(f"{name} is left out: {reason}", err=True)
        contest.run(found.jobs(chosen), tell)
    return contest.told
