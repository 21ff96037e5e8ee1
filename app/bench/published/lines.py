"""The lines of a table: model, input, batch, images/s and average latency, and what was published of the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Literal, cast

from app.bench.published.figures import figure_for
from app.bench.statistics import Json

Way = Literal["device", "call"]
WAYS: tuple[Way, ...] = ("device", "call")


@dataclass(frozen=True, slots=True)
class Line:
    """One network at one input size and batch, as one runtime ran it, one run after the other.

    `way` is `device` (by the device's clock, tensors lie there) or `call` (from NumPy to NumPy). `images_per_s` is the
    batch over the mean latency `latency_ms`. `published_per_s` is None where nothing was published, and `ratio` how
    many times that ours is.
    """

    model: str
    height: int
    width: int
    batch: int
    runtime: str
    way: Way
    images_per_s: float
    latency_ms: float
    published_per_s: float | None
    ratio: float | None
    published: str
    random_weights: bool

    def as_json(self) -> Json:
        return asdict(self)


NAMES = tuple(each.name for each in fields(Line))


def lines(told: Json) -> Iterator[Line]:
    """Of what `bench engines` tells, a line for each runtime and way of measuring, in the order of its rows."""
    for row in told["rows"]:
        figure = figure_for(row["network"], row["batch"])
        for runtime, found in row["runtimes"].items():
            for way in WAYS:
                if way not in found["latency_ms"]:
                    continue
                latency_ms = found["latency_ms"][way]["mean"]
                rate = 1e3 * row["batch"] / latency_ms
                yield Line(
                    model=row["model"],
                    height=row["size"][0],
                    width=row["size"][1],
                    batch=row["batch"],
                    runtime=_called(runtime, found),
                    way=way,
                    images_per_s=rate,
                    latency_ms=latency_ms,
                    published_per_s=None if figure is None else figure.images_per_s,
                    ratio=None if figure is None else rate / figure.images_per_s,
                    published="" if figure is None else figure.of,
                    random_weights=row["random_weights"],
                )


def read(told: Json) -> list[Line]:
    """The inverse of `as_json`, for each of the lines that were told."""
    return [Line(**{name: each[name] for name in NAMES}) for each in cast("list[Json]", told["lines"])]


def _called(runtime: str, found: Json) -> str:
    """Figures of a CPU say so, whoever's they are."""
    on_cpu = found.get("description", {}).get("device") == "cpu"
    return f"{runtime}, one CPU core" if on_cpu else runtime
