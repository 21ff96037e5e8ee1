"""The pictures of a verification run: ROC, DET and score histograms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from app.evaluation import plots
from app.evaluation.plots import BLUE, DARK, GREY, ORANGE, RED, Axes
from app.evaluation.wording import NOT_MEASURABLE, Json, cosine

DECADES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
BELOW_EDGE = 10
"""How far below the least FAR that was measured a curve is shown, as a factor."""
MARKED_GALLERIES = (100, 10_000)
CURVES = (("curves", BLUE, "the pairs"), ("all_impostors", ORANGE, "all pairs of different people"))


def roc(figures: Json, subtitle: str, path: Path) -> None:
    """True accepts over FAR on a log scale; the cosine is written at the powers of ten. PNG."""
    with plots.drawing(path, "ROC: true accepts at a false accept rate", subtitle) as axes:
        lines = _lines(figures)
        for far, tar, _, colour, label in reversed(lines):
            axes.plot(far, tar, color=colour, label=label, linewidth=1.8, drawstyle="steps-post")
        axes.set_xscale("log")
        axes.set(xlabel="false accept rate (FAR)", ylabel="true accept rate (TAR)")
        least, lowest = _ends(lines, _edge(figures))
        axes.set_xlim(least, 1)
        axes.set_ylim(lowest, 1 + 0.03 * (1 - lowest))
        axes.yaxis.set_major_formatter(lambda value, _: plots.share_name(round(value, 6)))
        _unmeasured(axes, _edge(figures), least)
        for far, tar, thresholds, colour, _ in lines:
            _label(axes, far, tar, thresholds, colour, below=colour == BLUE)
        plots.legend(axes, loc="lower right")


def det(figures: Json, subtitle: str, path: Path) -> None:
    """False rejects over FAR, both on axes of normal deviates (Martin et al., "The DET curve", 1997). PNG."""
    with plots.drawing(path, "DET: false rejects against false accepts", subtitle, (6.6, 6.0)) as axes:
        lines = _lines(figures)
        for far, tar, _, colour, label in reversed(lines):
            axes.plot([plots.probit(x) for x in far], [plots.probit(1 - y) for y in tar], color=colour, label=label,
                      linewidth=1.8)  # fmt: skip
        least, lowest = _ends(lines, _edge(figures))
        misses = [1 - y for _, tar, _, _, _ in lines for y in tar if y < 1]
        ends = (least, 0.5), (min([*misses, 0.01]), min(0.6, max(0.05, 1 - lowest)))
        for (low, high), axis, limit in zip(
            ends, (axes.xaxis, axes.yaxis), (axes.set_xlim, axes.set_ylim), strict=True
        ):
            ticks = [share for share in plots.SHARES if 0.8 * low <= share <= high]
            axis.set_ticks([plots.probit(share) for share in ticks], [plots.share_name(share) for share in ticks])
            limit(plots.probit(0.8 * low), plots.probit(high))
        axes.tick_params(axis="x", labelrotation=45)
        axes.set(xlabel="false accept rate (FAR)", ylabel="false reject rate (1 − TAR)")
        plots.legend(axes, loc="upper right")


def histograms(figures: Json, subtitle: str, path: Path) -> None:
    """How the cosines of both kinds of pairs are spread, with the thresholds marked. PNG."""
    with plots.drawing(path, "Scores of pairs, and where the line is drawn", subtitle) as axes:
        edges = figures["histograms"]["edges"]
        for kind, colour, label in (("impostor", RED, "different people"), ("genuine", BLUE, "the same person")):
            counts = figures["histograms"][kind]
            total = sum(counts) or 1
            shares = [count / total for count in counts]
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(shares, edges, color=colour, linewidth=1.4, label=label)
        axes.set(xlabel="cosine", ylabel="share of the pairs of a kind", ylim=(0, axes.get_ylim()[1] * 1.18))
        axes.yaxis.set_major_formatter(lambda value, _: plots.share_name(round(value, 6)))
        axes.set_xlim(*_occupied(figures["histograms"]))
        for place, (threshold, name) in enumerate(_marks(figures)):
            top = axes.get_ylim()[1]
            axes.axvline(threshold, color=DARK, linewidth=1, linestyle=("-", "--", ":")[place % 3])
            axes.text(threshold, top * (0.985 - 0.055 * place), f" {name}: {cosine(threshold)}", fontsize=8.5,
                      color=DARK, va="top", bbox=plots.PAPER)  # fmt: skip
        plots.legend(axes, loc="upper left")


def _lines(figures: Json) -> list[tuple[list[float], list[float], list[float], str, str]]:
    """FAR, TAR and threshold of each curve there is, where FAR is above 0; its colour, and what it is called."""
    found = []
    for name, colour, label in CURVES:
        curve = figures[name] if name == "curves" else figures.get(name)
        if curve:
            rows = zip(curve["far"], curve["tar"], curve["thresholds"], strict=True)
            kept = [row for row in rows if row[0] > 0 and row[2] is not None]
            if kept:
                far, tar, thresholds = (list(column) for column in zip(*kept, strict=True))
                found.append((far, tar, thresholds, colour, label))
    return found


def _ends(lines: list[Any], edge: float) -> tuple[float, float]:
    """The least FAR that is shown, some way below the `edge` of what was measured, and the least TAR."""
    reached = min((min(far) for far, *_ in lines), default=1e-3)
    least = min(0.1, max(reached, min(edge, 0.1) / BELOW_EDGE))
    tars = [y for far, tar, *_ in lines for x, y in zip(far, tar, strict=True) if x >= least]
    lowest = min(tars, default=0.0)
    step = 0.01 if lowest > 0.95 else 0.05 if lowest > 0.8 else 0.1
    return least, max(0.0, math.floor((lowest - 0.01) / step) * step)


def _edge(figures: Json) -> float:
    """The least FAR that the sample carries; 1 for none."""
    rows = figures["tar_at_far"] + (figures["far_table"] or {"rows": []})["rows"]
    return float(min((row["far"] for row in rows if row["measurable"]), default=1.0))


def _unmeasured(axes: Axes, edge: float, least: float) -> None:
    """Greys out the FARs that the sample does not carry."""
    if edge > least * 1.01:
        axes.axvspan(least, edge, color=GREY, alpha=0.13, linewidth=0)
        axes.text(math.sqrt(least * edge), 0.02, NOT_MEASURABLE, transform=axes.get_xaxis_transform(),
                  fontsize=8, color="#5f6368", ha="center", va="bottom")  # fmt: skip


def _label(
    axes: Axes, far: list[float], tar: list[float], thresholds: list[float], colour: str, *, below: bool
) -> None:
    """Writes the cosine at each power of ten that the curve reaches."""
    for decade in DECADES:
        inside = [place for place, value in enumerate(far) if value <= decade * 1.000001]
        if not inside or far[inside[-1]] < decade / 2 or decade < 2 * axes.get_xlim()[0]:
            continue
        place = inside[-1]
        axes.plot(far[place], tar[place], "o", color=colour, markersize=4)
        offset, side = ((5, -12), "left") if below else ((-4, 6), "right")
        axes.annotate(cosine(thresholds[place]), (far[place], tar[place]), xytext=offset, ha=side,
                      textcoords="offset points", fontsize=8, color=colour, bbox=plots.PAPER)  # fmt: skip


def _occupied(histogram: Json) -> tuple[float, float]:
    """The range of cosines that any pair has, a little widened; pairs without a face lie at −1 and are left out."""
    edges = histogram["edges"]
    used = [
        place
        for place, counts in enumerate(zip(histogram["genuine"], histogram["impostor"], strict=True))
        if any(counts) and place
    ]
    if not used:
        return -1, 1
    return max(-1, edges[used[0]] - 0.05), min(1, edges[used[-1] + 1] + 0.05)


def _marks(figures: Json) -> list[tuple[float, str]]:
    """The thresholds that follow from the run, and what each is for."""
    if not figures["thresholds"]:
        return [(figures["accuracy"]["thresholds"][0], "accuracy")] if figures["accuracy"]["thresholds"] else []
    marks = [(figures["thresholds"]["verify"], "1:1")]
    marks += [
        (row["threshold"], f"1:{row['identities']:,}")
        for row in figures["one_to_many"]
        if row["identities"] in MARKED_GALLERIES and not row["warning"]
    ]
    return sorted(marks)
