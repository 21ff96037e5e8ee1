"""The pictures of an identification run: CMC, and FNIR over FPIR."""

from __future__ import annotations

from pathlib import Path

from app.evaluation import plots
from app.evaluation.plots import BLUE, DARK, GREY
from app.evaluation.wording import Json, cosine


def cmc(figures: Json, subtitle: str, path: Path) -> None:
    """The cumulative match characteristic: how often the right identity is among the first k. PNG."""
    with plots.drawing(path, "CMC: is the right one among the first k?", subtitle) as axes:
        rows = [row for row in figures["cmc"] if row["value"] is not None]
        ranks, rates = [row["rank"] for row in rows], [row["value"] for row in rows]
        if all(row["low"] is not None for row in rows):
            low, high = ([row[end] for row in rows] for end in ("low", "high"))
            axes.fill_between(ranks, low, high, color=BLUE, alpha=0.15, linewidth=0, label="95 % interval")
        axes.plot(ranks, rates, "o-", color=BLUE, markersize=4, linewidth=1.8, label="probes with a mate")
        axes.set(xlabel="rank k", ylabel="right identity among the first k", xlim=(0.5, len(rows) + 0.5))
        floor = min([row["low"] if row["low"] is not None else row["value"] for row in rows], default=0)
        lowest = max(0.0, floor - 0.02)
        axes.set_ylim(lowest, 1 + 0.03 * (1 - lowest))
        axes.set_xticks([1, *range(5, len(rows) + 1, 5)])
        axes.yaxis.set_major_formatter(lambda value, _: plots.share_name(round(value, 6)))
        plots.legend(axes, loc="lower right")


def open_set(figures: Json, subtitle: str, path: Path) -> None:
    """False negative over false positive identification rate, the model's own threshold marked. PNG."""
    with plots.drawing(path, "Open set: names missed against strangers named", subtitle) as axes:
        axes.set(xlabel="FPIR: strangers given a name", ylabel="FNIR: known people not named, or wrongly")
        curve = figures["curves"]
        if curve is None or not curve["fpir"]:
            axes.text(
                0.5, 0.5, "every probe shows someone of the gallery", transform=axes.transAxes, ha="center", color=DARK
            )
            return
        axes.set_xscale("log")
        axes.plot(
            curve["fpir"], curve["fnir"], color=BLUE, linewidth=1.8, drawstyle="steps-post", label="all thresholds"
        )
        axes.set_xlim(min(curve["fpir"]) * 0.9, 1)
        axes.set_ylim(0, max(*curve["fnir"], 0.01) * 1.08)
        for row in figures["open_set"]:
            if row["threshold"] is not None and row["measurable"]:
                place = row["fpir_found"]["value"], row["fnir"]["value"]
                axes.plot(*place, "o", color=BLUE, markersize=5)
                axes.annotate(cosine(row["threshold"]), place, xytext=(5, 5), textcoords="offset points", fontsize=8,
                              color=BLUE)  # fmt: skip
        _mark_recommended(axes, figures)
        axes.xaxis.set_major_formatter(lambda value, _: plots.share_name(round(value, 9)))
        axes.yaxis.set_major_formatter(lambda value, _: plots.share_name(round(value, 6)))
        plots.legend(axes, loc="upper right")


def _mark_recommended(axes: plots.Axes, figures: Json) -> None:
    found = figures["recommended"]
    if not found or not found["without_mate"]["named"]["value"]:
        return
    miss = 1 - found["with_mate"]["right"]["value"]
    axes.plot(found["without_mate"]["named"]["value"], miss, "D", color=DARK, markersize=6, markeredgecolor=GREY,
              label=f"the model's own threshold, {cosine(found['threshold'])}")  # fmt: skip
