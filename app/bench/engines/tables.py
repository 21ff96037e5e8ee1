"""What was measured of the networks, for people: a table for each, in the shape in which such figures are published."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from app.bench.statistics import Json
from app.bench.tables import spread, table

CAPTION = """device: by the device's clock, tensors lie there; copies: to it and back too; call: from NumPy to NumPy.
images/s: one run after the other; at once: as many as the runtime does well, median and extremes of the rounds."""


def tables(told: Json) -> Iterator[Table]:
    """One for each network, one of the ratios, one of what was left out."""
    networks = list(dict.fromkeys(row["network"] for row in told["rows"]))
    for network in networks:
        shown = _network(network, [row for row in told["rows"] if row["network"] == network])
        shown.caption, shown.caption_justify = CAPTION if network == networks[-1] else None, "left"
        yield shown
    if any(row["times_faster"] for row in told["rows"]):
        yield _ratios(told)
    if told["left_out"]:
        shown = table("left out", "network", "batch", "runtime", "why")
        for each in told["left_out"]:
            shown.add_row(each["network"], str(each["batch"]), each["runtime"], each["reason"])
        yield shown


def summary(row: Json) -> str:
    """One row in a line, while the others are still to come."""
    medians = []
    for runtime, found in row["runtimes"].items():
        way, latency = next(iter(found["latency_ms"].items()))
        medians.append(f"{runtime} {latency['p50']:.2f} ms ({way})")
    return f"{row['network']} batch {row['batch']}: {', '.join(medians)}"


def _network(name: str, rows: list[Json]) -> Table:
    weights = ", random weights" if rows[0]["random_weights"] else ""
    shown = table(f"{name}{weights}", "", "batch", "mean ms", "p50", "p99", "images/s", "at once")
    for row in rows:
        shown.add_section()
        for runtime, found in row["runtimes"].items():
            for way, latency in found["latency_ms"].items():
                times = [f"{latency[which]:.3f}" for which in ("mean", "p50", "p99")]
                alone = f"{found['one_at_a_time_per_s'][way]:,.0f}"
                at_once = spread(found["images_per_s"][way], 0)
                shown.add_row(f"{_called(runtime, row)}, {way}", str(row["batch"]), *times, alone, at_once)
    return shown


def _ratios(told: Json) -> Table:
    shown = table("how many times faster, by the median", "", "network", "batch", "ratio")
    for row in told["rows"]:
        for each in row["times_faster"]:
            pair = f"{_called(each['faster'], row)} than {_called(each['than'], row)}, {each['way']}"
            shown.add_row(pair, row["network"], str(row["batch"]), spread(each["ratio"], 2))
    return shown


def _called(runtime: str, row: Json) -> str:
    """Its name, and that it had no GPU: beside those that had one its figures mean something else."""
    on_cpu = row["runtimes"][runtime].get("description", {}).get("device") == "cpu"
    return f"{runtime} on the CPU" if on_cpu else runtime
