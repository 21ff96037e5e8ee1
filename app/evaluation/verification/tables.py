"""A verification run on the terminal: what one wants to see first."""

from __future__ import annotations

from rich.table import Table

from app.evaluation.report import summary_table
from app.evaluation.verification.report import accuracy_words
from app.evaluation.wording import NOT_MEASURABLE, Json, cosine, percent, plain, power


def summary(told: Json) -> Table:
    """Detection, accuracy, TARs and thresholds."""
    figures = told["verification"]
    shown = summary_table(told)
    shown.add_row("photos with a face found", percent(figures["detection_rate"]))
    shown.add_row("accuracy", accuracy_words(figures["accuracy"]).partition(",")[0])
    shown.add_row("AUC", plain(figures["auc"]))
    shown.add_row("EER", percent(figures["eer"]))
    for impostors, whose in (("pairs", ""), ("all", ", all impostors")):
        _accepts(shown, [row for row in figures["tar_at_far"] if row["impostors"] == impostors], whose)
    if figures["thresholds"]:
        shown.add_row("threshold 1:1", cosine(figures["thresholds"]["verify"]))
        for row in figures["one_to_many"]:
            shown.add_row(
                f"threshold 1:{row['identities']:,}", cosine(row["threshold"]) + (" !" if row["warning"] else "")
            )
        if any(row["warning"] for row in figures["one_to_many"]):
            shown.caption, shown.caption_justify = (
                "!: the table ends before that size; more strangers are named",
                "left",
            )
    else:
        shown.add_row("thresholds", NOT_MEASURABLE)
    return shown


def _accepts(shown: Table, rows: list[Json], whose: str) -> None:
    """The TARs that were measured, and one line for those that were not."""
    for row in rows:
        if row["measurable"]:
            shown.add_row(f"TAR at FAR {power(row['far'], 0)}{whose}", percent(row["tar"]))
    missing = [power(row["far"], 0) for row in rows if not row["measurable"]]
    if missing:
        shown.add_row(f"TAR at FAR {', '.join(missing)}{whose}", NOT_MEASURABLE)
