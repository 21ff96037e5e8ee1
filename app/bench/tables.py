"""How figures are written into a table."""

from __future__ import annotations

from rich.table import Table

from app.bench.statistics import Json


def table(title: str, *columns: str) -> Table:
    """An empty table; all columns but the first are figures."""
    shown = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        shown.add_column(column, justify="right" if number else "left")
    return shown


def spread(summary: Json, digits: int = 1) -> str:
    """A Summary: median, and the rounds' extremes in brackets."""
    return f"{summary['median']:.{digits}f} ({summary['low']:.{digits}f}–{summary['high']:.{digits}f})"


def waits(latency: Json) -> list[str]:
    """Percentiles in milliseconds, a column each."""
    return [f"{latency[name]:.1f}" for name in ("p50", "p95", "p99")]
