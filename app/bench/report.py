"""What was measured, for people: one table a question, and the promises with what was found."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from app.bench.processes import Cores
from app.bench.statistics import Json, Target

PACKAGES = ("faceserve", "onnxruntime", "opencv-python-headless", "numpy", "faiss-cpu", "fastapi", "uvicorn", "orjson")
CPUINFO = Path("/proc/cpuinfo")
QUIET_LOAD, WHOLE_CORE = 0.5, 0.97


def machine(cores: Cores) -> Json:
    """Where and when the figures come from."""
    return {
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "work_core": cores.work,
        "client_core": cores.client,
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def write(told: Json, promises: Sequence[Target], path: Path) -> None:
    """Everything as one JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = told | {"targets": [asdict(target) for target in promises]}
    path.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def show(told: Json, promises: Sequence[Target], console: Console) -> None:
    """A table for each part that was measured."""
    here = told["machine"]
    console.print(f"{here['cpu']}, {here['cores']} cores; Python {here['python']}; {here['measured_at']}")
    if here["load_average"] > QUIET_LOAD:
        console.print(f"[yellow]the machine was not quiet: load average {here['load_average']:.1f}[/]")
    if here["work_core"] is None:
        console.print("[yellow]processes could not be bound to two cores: server and client share them[/]")
    if "throughput" in told and (share := told["throughput"]["core_share"]["low"]) < WHOLE_CORE:
        console.print(f"[red]something else ran on the work core: a bare loop had {share:.0%} of it; measure again[/]")
    for part, tables in TABLES.items():
        if part in told:
            for table in tables(told[part]):
                console.print(table)
    console.print(_targets(promises))


def _throughput(told: Json) -> Iterator[Table]:
    table = _table("photos a second on one core", "", "photos/s", "of the bare loop", "p50 ms", "p95 ms", "p99 ms")
    table.add_row("bare loop", _spread(told["bare_photos_per_s"]), "1.00", *_waits(told["bare_latency_ms"]))
    for clients, row in told["service"].items():
        share = _spread(row["to_bare"], 2)
        table.add_row(f"clients: {clients}", _spread(row["photos_per_s"]), share, *_waits(row["latency_ms"]))
    yield table
    table = _table("one client's wait", "photo", "p50 ms", "decode + networks alone, ms", "ratio")
    for row in told["one_client"]["photos"]:
        table.add_row(row["photo"], f"{row['p50_ms']:.1f}", f"{row['alone_ms']:.1f}", f"{row['ratio']:.2f}")
    table.add_row("all", "", "", _spread(told["one_client"]["ratio"], 2))
    yield table
    table = _table("the small scale", "", "photos/s", "ratio")
    table.add_row("on", _spread(told["bare_photos_per_s"]), "1.00")
    small = told["small_scale"]
    table.add_row("off", _spread(small["one_scale_photos_per_s"]), _spread(small["cost"], 2))
    yield table


def _wire(told: Json) -> Iterator[Table]:
    title = (
        f"/detect without networks, {told['picture_bytes'] * 4 / 3e3:.0f} kB body, {told['connections']} connections"
    )
    table = _table(title, "", "requests/s", "ratio", "p50 ms", "p95 ms", "p99 ms")
    ours, plain = told["ours"], told["plain"]
    table.add_row("plain FastAPI", _spread(plain["requests_per_s"], 0), "1.00", *_waits(plain["latency_ms"]))
    ratio = _spread(told["to_plain"], 2)
    table.add_row("faceserve", _spread(ours["requests_per_s"], 0), ratio, *_waits(ours["latency_ms"]))
    yield table


def _steps(told: Json) -> Iterator[Table]:
    table = _table("one request, µs", "step", "usual", "ours", "ratio")
    for row in (*told["steps"], told["total"]):
        table.add_row(row["step"], _spread(row["usual_us"], 0), _spread(row["ours_us"], 0), _spread(row["ratio"]))
    yield table
    table = _table("left out of it, µs", "", "")
    for name, cost in told["left_out_us"].items():
        table.add_row(name, _spread(cost, 0))
    yield table
    table = _table("is the baseline the usual code?", "operation", "µs", "of imdecode", "known", "apart")
    for row in told["yardstick"]:
        apart = f"{row['deviation']:+.0%}" + ("" if row["within_tolerance"] else " !")
        known = f"{row['known_to_imdecode']:.3f}"
        table.add_row(row["operation"], _spread(row["usual_us"], 0), _spread(row["to_imdecode"], 3), known, apart)
    yield table


def _start(told: Json) -> Iterator[Table]:
    table = _table("cold start, s", "", "s", "ratio")
    table.add_row(told["imports"], _spread(told["imports_s"], 2), "1.00")
    table.add_row("faceserve serve to /readyz", _spread(told["to_ready_s"], 2), _spread(told["to_imports"], 2))
    yield table


def _soak(told: Json) -> Iterator[Table]:
    table = _table(f"{told['requests']} mixed requests", "", "")
    table.add_row("statuses", ", ".join(f"{status}: {times}" for status, times in told["statuses"].items()))
    for name, index in (("at the start", 0), ("at the end", -1)):
        table.add_row(f"worker's memory {name}", f"{told['resident_bytes'][index] / 2**20:.1f} MiB")
    table.add_row("growth after warm-up", f"{told['growth_percent']:+.1f} %")
    yield table


def _targets(promises: Sequence[Target]) -> Table:
    table = _table("promises", "", "aim", "found", "")
    for target in promises:
        table.add_row(
            target.name, target.aim, f"{target.found:.2f}", "[green]met[/]" if target.met else "[red]missed[/]"
        )
    return table


TABLES: dict[str, Callable[[Json], Iterator[Table]]] = {
    "throughput": _throughput,
    "wire": _wire,
    "steps": _steps,
    "start": _start,
    "soak": _soak,
}


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _spread(summary: Json, digits: int = 1) -> str:
    return f"{summary['median']:.{digits}f} ({summary['low']:.{digits}f}–{summary['high']:.{digits}f})"


def _waits(latency: Json) -> list[str]:
    return [f"{latency[name]:.1f}" for name in ("p50", "p95", "p99")]


def _cpu() -> str:
    if CPUINFO.is_file():
        for line in CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
