"""What was measured of approximate indexes, in words: a recommendation, and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from app.bench.statistics import Json

WORTH = 1.5
"""So many times as fast as exact, in the median, an index must be: it is memory and misses otherwise for little."""


def recommendation(told: Json, target: float, fast_enough_ms: float) -> Json:
    """`setting` is what FACESERVE_INDEX should be, and `why`.

    An index is worth while where an exact search takes longer than `fast_enough_ms`, the index is `WORTH` times as
    fast, and at least a share `target` of those exactly named is found, as far as the number of questions tells with
    95 % confidence. Of several the fastest.
    """
    exact = told["exact"]["ms"]["median"]
    if exact <= fast_enough_ms:
        return _stay(f"an exact search takes {exact:.2f} ms, which is fast enough ({fast_enough_ms:g} ms)")
    steps = [step for index in told["indexes"] for step in index["steps"]]
    if not steps:
        return _stay("the collection is too small for these indexes")
    if not steps[0]["named"]:
        return _stay(
            "none of the questions is answered with anybody exactly, so that nobody could be missed: is the "
            "threshold right?"
        )
    sure = [step for step in steps if (step["found_low"] or 0) >= target]
    if not sure:
        most = max(step["found"] or 0 for step in steps)
        return _stay(
            f"no index is sure to find {target:.2%} of those who are named; the best found {most:.2%} of "
            f"{steps[0]['named']}: ask more questions, or allow more misses"
        )
    best = max(sure, key=lambda step: step["exact_to_ours"]["median"])
    times = best["exact_to_ours"]["median"]
    if times < WORTH:
        return _stay(f"the fastest index that finds {target:.2%} is {times:.1f} times as fast as exact")
    why = (
        f"{times:.1f} times as fast as exact; {best['missed']} of {best['named']} missed, at most "
        f"{1 - best['found_low']:.2%} with 95 % confidence"
    )
    return {"setting": best["setting"], "why": why}


def _stay(why: str) -> Json:
    return {"setting": "exact", "why": why}


def line(advice: Json) -> str:
    """One line for a terminal."""
    kept = "stay exact" if advice["setting"] == "exact" else f"FACESERVE_INDEX={advice['setting']}"
    return f"{kept}: {advice['why']}"


def markdown(told: Json) -> str:
    """The whole report, ending in a newline."""
    return "\n".join(_lines(told)) + "\n"


def _lines(told: Json) -> Iterator[str]:
    exact = told["exact"]["ms"]
    yield f"# Indexes for {told['collection']!r}"
    yield ""
    yield (
        f"{told['faces']:,} faces of {told['identities']:,} identities, {told['dimension']} numbers each; top "
        f"{told['top_k']}; {told['questions']['how']}. Threshold {told['threshold']:.3f}: exactly named are "
        f"{told['questions']['named']}."
    )
    yield ""
    yield f"Exact: {exact['median']:.2f} ms a search ({exact['low']:.2f}–{exact['high']:.2f})."
    yield ""
    yield f"**{line(told['recommendation'])}**"
    for index in told["indexes"]:
        yield ""
        yield from _index(index)
    yield ""
    yield (
        "`found`: of those who are named exactly, the share that is named by the index too, and the least it may be "
        "with 95 % confidence. `times`: how many times as fast as exact, the median of rounds taken in turns, and "
        "their extremes. `rows`: whole rows read a search, from memory here, from the database in the service."
    )


def _index(told: Json) -> Iterator[str]:
    yield f"## {told['index']}"
    yield ""
    if not told["made"]:
        yield f"Not made: {told['rows']:,} rows, it wants {told['least_rows']:,}. The service would answer exactly."
        return
    yield f"Made in {told['build_s']:.1f} s on one core; about {told['mib']:.0f} MiB in each worker."
    yield ""
    yield "| setting | recall@1 | recall@k | found (at least) | missed | ms | times | rows |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for step in told["steps"]:
        ratio = step["exact_to_ours"]
        cells = (
            f"`{step['setting']}`",
            _percent(step["recall_at_1"]),
            _percent(step["recall_at_k"]),
            f"{_percent(step['found'])} ({_percent(step['found_low'])})",
            f"{step['missed']} of {step['named']}",
            f"{step['ms']['median']:.2f}",
            f"{ratio['median']:.1f} ({ratio['low']:.1f}–{ratio['high']:.1f})",
            f"{step['whole_rows']:.0f}",
        )
        yield f"| {' | '.join(cells)} |"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"
