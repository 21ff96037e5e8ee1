"""How figures are written for people: rates with their intervals, FARs, and Markdown that no name can break."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]
NOT_MEASURABLE = "not measurable here"
NOTHING = "–"
LONGEST_NAME = 30
SPECIAL = re.compile(r"([\\`*{}\[\]<>|#$~]|(?<!\w)_|_(?!\w))")
UNSEEN = re.compile(r"[\x00-\x1f\x7f]+")


def percent(interval: Json | None) -> str:
    """`98.83 % (98.5–99.1)`: a rate 0..1 with its 95 % interval, as exact as that is narrow; a dash for no figure."""
    if interval is None or interval["value"] is None:
        return NOTHING
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    if low is None or high is None:
        return f"{100 * value:.2f} %"
    digits = _digits(100 * (high - low))
    return f"{100 * value:.{max(2, digits)}f} % ({100 * low:.{digits}f}–{100 * high:.{digits}f})"


def plain(interval: Json | None) -> str:
    """`0.9987 (0.9981–0.9992)`, as for an area under a curve."""
    if interval is None or interval["value"] is None:
        return NOTHING
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    bounds = "" if low is None or high is None else f" ({low:.4f}–{high:.4f})"
    return f"{value:.4f}{bounds}"


def small(interval: Json | None) -> str:
    """`1.0e-4 (7.1e-5–1.4e-4)`: a rate that may be tiny."""
    if interval is None or interval["value"] is None:
        return NOTHING
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    bounds = "" if low is None or high is None else f" ({power(low)}–{power(high)})"
    return f"{power(value)}{bounds}"


def power(value: float, digits: int = 1) -> str:
    """`1.0e-4`, or `1e-4` without digits: no zeros that only fill up the exponent."""
    if not value:
        return "0"
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if int(exponent) else mantissa


def one_in(far: float) -> str:
    """`1 in 10,000`."""
    return f"1 in {round(1 / far):,}" if far > 0 else "none"


def cosine(value: float | None) -> str:
    """`0.413`, or a dash."""
    return NOTHING if value is None else f"{value:.3f}"


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """A name in one line of at most `longest` characters: what is left out of its middle shows as `…`."""
    name = UNSEEN.sub(" ", name)
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def escape(text: str) -> str:
    """The text as Markdown that reads the same: nothing in it starts a link, a cell, a tag or emphasis."""
    return SPECIAL.sub(r"\\\1", UNSEEN.sub(" ", text))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table and an empty one after them; all columns but the first are figures.

    Cells are Markdown already: names in them are to be escaped.
    """
    rule = ["---", *["---:"] * (len(headers) - 1)]
    return [f"| {' | '.join(row)} |" for row in (headers, rule, *rows)] + [""]


def _digits(width: float) -> int:
    """How many digits after the point a figure carries whose interval is that wide."""
    return max(1, math.ceil(-math.log10(width))) if width > 1e-6 else 2
