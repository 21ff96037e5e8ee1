"""The same figures as pictures: images/s over the batch, and how many times faster the first runtime is."""

from __future__ import annotations

from typing import Any

from app.bench.statistics import Json

Axes = Any
COLOURS = (
    *("#1f6feb", "#d64545", "#2da44e", "#e3a008", "#8250df", "#0f9b9b", "#bf3989", "#57606a"),
    *("#8c564b", "#9acd32", "#00bfff", "#000000"),
)
STYLES = ("-", "--", ":", "-.")


def throughput(axes: Axes, told: Json) -> None:
    """A line for each network (its colour) and runtime (its stroke), on the device where that was measured."""
    networks = list(dict.fromkeys(row["network"] for row in told["rows"]))
    runtimes = list(dict.fromkeys(name for row in told["rows"] for name in row["runtimes"]))
    for place, network in enumerate(networks):
        for stroke, runtime in enumerate(runtimes):
            points = sorted(
                (row["batch"], _rate(row["runtimes"][runtime]))
                for row in told["rows"]
                if row["network"] == network and runtime in row["runtimes"]
            )
            style = {"color": COLOURS[place % len(COLOURS)], "linestyle": STYLES[stroke % len(STYLES)]}
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", **style)
    for place, network in enumerate(networks):
        axes.plot([], [], color=COLOURS[place % len(COLOURS)], label=network)
    for stroke, runtime in enumerate(runtimes):
        axes.plot([], [], color="black", linestyle=STYLES[stroke % len(STYLES)], label=runtime)
    axes.set(title="throughput", xlabel="batch", ylabel="images/s", xscale="log", yscale="log")
    batches = sorted({row["batch"] for row in told["rows"]})
    axes.set_xticks(batches, labels=[str(batch) for batch in batches])
    axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.legend(fontsize=6)


def ratios(axes: Axes, told: Json) -> None:
    """A bar for each row and runtime that the first one was held against."""
    found = [(row, each) for row in told["rows"] for each in row["times_faster"]]
    others = list(dict.fromkeys(each["than"] for _, each in found))
    names = [f"{row['network']} ×{row['batch']}" for row, _ in found]
    order = {name: place for place, name in enumerate(dict.fromkeys(names))}
    height = 0.8 / max(1, len(others))
    for place, other in enumerate(others):
        bars = [(order[name], each) for name, (_, each) in zip(names, found, strict=True) if each["than"] == other]
        axes.barh(
            [row + place * height for row, _ in bars],
            [each["ratio"]["median"] for _, each in bars],
            height,
            color=COLOURS[place],
            label=f"than {other}",
        )
    axes.set(title="times faster (median latency)", yticks=list(order.values()), yticklabels=list(order))
    axes.tick_params(axis="y", labelsize=6)
    axes.invert_yaxis()
    if found:
        axes.axvline(1, color="black", linewidth=0.8)
        axes.legend(fontsize=6)


def _rate(found: Json) -> float:
    rates = found["images_per_s"]
    return float(rates["device" if "device" in rates else "call"]["median"])
