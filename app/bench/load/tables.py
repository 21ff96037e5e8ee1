"""The loaded service in tables: for each set of photos what it did, and where a request's time went."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from app.bench.load.measure import STEPS
from app.bench.statistics import Json
from app.bench.tables import spread, table, waits

BUSY_CLIENT = 0.9
WHICH = "workers × threads"
Rows = list[tuple[str, Json]]


def tables(told: Json) -> Iterator[Table]:
    """Three for each set of photos, and one of the starts."""
    for name, sizes in told["photos"].items():
        kilobytes = sum(sizes) / len(sizes) / 1e3
        rows = list(_rows(name, told))
        yield _answers(f"/recognize, {name} ({kilobytes:.0f} kB), {told['clients']} clients", rows)
        yield _breakdown(f"{name}: where the time of an answer goes, median ms", rows)
        yield _usage(f"{name}: what the service takes", rows)
    yield _starts(told)


def _answers(title: str, rows: Rows) -> Table:
    shown = table(title, WHICH, "requests/s", "p50 ms", "p95 ms", "p99 ms", "not 200", "faces")
    for label, row in rows:
        rate = spread(row["requests_per_s"], 0) + (" !" if row["client_share"] > BUSY_CLIENT else "")
        found = "–" if row["faces"] is None else f"{row['faces']:.1f}"
        shown.add_row(label, rate, *(waits(row["latency_ms"]) if row["latency_ms"] else "–––"), failures(row), found)
    if any(row["client_share"] > BUSY_CLIENT for _, row in rows):
        shown.caption = "!: a client's core was busy throughout, so the service could do more"
    return shown


def _breakdown(title: str, rows: Rows) -> Table:
    shown = table(title, WHICH, *STEPS)
    for label, row in rows:
        if row["timings_ms"] is not None:
            shown.add_row(label, *(f"{row['timings_ms'][step]:.1f}" for step in STEPS))
    return shown


def _usage(title: str, rows: Rows) -> Table:
    shown = table(title, WHICH, "rows a run", "GPU busy %", "GPU MiB", "cores", "MiB")
    for label, row in rows:
        runs = ", ".join(f"{short(engine)} {count:.1f}" for engine, count in row["mean_rows"].items())
        busy = ", ".join(f"{gpu['busy_percent']:.0f}" for gpu in row["gpus"].values()) or "–"
        used = ", ".join(f"{gpu['used_mib']:,.0f}" for gpu in row["gpus"].values()) or "–"
        shown.add_row(label, runs, busy, used, f"{row['cores_busy']:.1f}", f"{row['resident_bytes'] / 2**20:,.0f}")
    return shown


def _starts(told: Json) -> Table:
    shown = table("start, s", WHICH, "first answer", "all workers", "runs on")
    for each in told["combinations"]:
        label = f"{each['workers']} × {each['pipeline_threads']}"
        if "error" in each:
            shown.add_row(label, "–", "–", each["error"])
            continue
        runtimes = dict.fromkeys(_runtime(engine) for engine in each["engines"].values())
        shown.add_row(label, f"{each['cold_start_s']:.2f}", f"{each['all_ready_s']:.2f}", ", ".join(runtimes))
    return shown


def short(engine: str) -> str:
    """`detector_640x640` as `d640`, `embedder` as `e`."""
    kind, _, size = engine.partition("_")
    return kind[0] + size.partition("x")[0]


def failures(row: Json) -> str:
    """The statuses that are failures, and how often each was answered."""
    found = [f"{status}: {times}" for status, times in sorted(row["statuses"].items()) if status != "200"]
    return ", ".join(found) or "–"


def _rows(name: str, told: Json) -> Iterator[tuple[str, Json]]:
    for each in told["combinations"]:
        if "rows" in each:
            yield f"{each['workers']} × {each['pipeline_threads']}", each["rows"][name]


def _runtime(engine: Json) -> str:
    return " ".join(str(engine[part]) for part in ("runtime", "version", "device", "precision") if part in engine)
