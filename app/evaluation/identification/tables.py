"""An identification run on the terminal: what one wants to see first."""

from __future__ import annotations

from rich.table import Table

from app.evaluation.report import summary_table
from app.evaluation.wording import NOT_MEASURABLE, Json, cosine, percent


def summary(told: Json) -> Table:
    """Ranks, FNIR at FPIR, and what the service would answer."""
    figures = told["identification"]
    shown = summary_table(told)
    shown.add_row("probes with a face found", percent(figures["probes"]["detection_rate"]))
    shown.add_row("rank 1", percent(figures["rank_1"]))
    shown.add_row("rank 5", percent(figures["rank_5"]))
    for row in figures["open_set"]:
        found = percent(row["fnir"]) if row["measurable"] else NOT_MEASURABLE
        shown.add_row(f"FNIR at FPIR {100 * row['fpir']:g} %", found)
    if found := figures["recommended"]:
        shown.add_row("the model's own threshold", cosine(found["threshold"]))
        for which, name in (("right", "rightly"), ("wrong", "wrongly"), ("no_name", "not")):
            shown.add_row(f"  known people {name} named", percent(found["with_mate"][which]))
        shown.add_row("  strangers named", percent(found["without_mate"]["named"]))
    return shown
