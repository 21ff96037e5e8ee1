"""What the plots of all evaluations look like. matplotlib comes with the extra `eval` and is imported to draw one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

Axes = Any
BLUE, ORANGE, RED, GREY, DARK, FAINT = "#1f6feb", "#d97706", "#d64545", "#8b949e", "#202124", "#e3e6ea"
DPI: Final = 120
SHARES = (0.00001, 0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)
PAPER: Final = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
"""What keeps words readable on top of lines."""
NORMAL = NormalDist()


@contextmanager
def drawing(path: Path, title: str, subtitle: str, size: tuple[float, float] = (7.6, 5.4)) -> Iterator[Axes]:
    """Axes to draw on, of `size` inches; they are written as PNG when the block ends."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors=DARK, labelsize=9)
    yield axes
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, color=DARK, weight="bold", parse_math=False)
    axes.set_title(subtitle, loc="left", fontsize=8.5, color="#5f6368", pad=8, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def probit(share: float) -> float:
    """Where a share (0..1) lies on an axis of normal deviates; 0 and 1 lie at the ends of what such an axis shows."""
    return NORMAL.inv_cdf(min(max(share, 1e-9), 1 - 1e-9))


def share_name(share: float) -> str:
    """`0.1 %`, as a tick is called."""
    return f"{100 * share:g} %"


def legend(axes: Axes, **where: Any) -> None:
    """What the lines are, without a frame."""
    axes.legend(fontsize=9, frameon=True, facecolor="white", edgecolor="none", framealpha=0.9, labelcolor=DARK, **where)
