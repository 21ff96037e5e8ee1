"""What was measured, for people: one table a question, and the promises with what was found."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from app.bench.engines import tables as engines_tables
from app.bench.gallery import tables as gallery_tables
from app.bench.load import tables as load_tables
from app.bench.pairs import tables as pairs_tables
from app.bench.processes import Cores
from app.bench.published import writing
from app.bench.statistics import Json, Target
from app.bench.tables import spread, table, waits

PACKAGES = ("faceserve", "onnxruntime", "opencv-python-headless", "numpy", "faiss-cpu", "fastapi", "uvicorn", "orjson")
CPUINFO = Path("/proc/cpuinfo")
QUIET_LOAD, WHOLE_CORE = 0.5, 0.97
BOUND = {"soak", "start", "steps", "throughput", "wire"}
"""The parts that are measured on one core."""


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
        "packages": {name: _version(name) for name in PACKAGES},
    }


def write(told: Json, promises: Sequence[Target], path: Path) -> None:
    """Everything as one JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = told | {"targets": [asdict(target) for target in promises]}
    path.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def show(told: Json, promises: Sequence[Target], console: Console) -> None:
    """A table for each part that was measured."""
    here = told["machine"]
    gpu = f"{here['gpu']}; " if "gpu" in here else ""
    console.print(f"{gpu}{here['cpu']}, {here['cores']} cores; Python {here['python']}; {here['measured_at']}")
    if here["load_average"] > QUIET_LOAD:
        console.print(f"[yellow]the machine was not quiet: load average {here['load_average']:.1f}[/]")
    if here["work_core"] is None and BOUND & told.keys():
        console.print("[yellow]processes could not be bound to two cores: server and client share them[/]")
    if "throughput" in told and (share := told["throughput"]["core_share"]["low"]) < WHOLE_CORE:
        console.print(f"[red]something else ran on the work core: a bare loop had {share:.0%} of it; measure again[/]")
    for part, tables in TABLES.items():
        if part in told:
            for each in tables(told[part]):
                console.print(each)
    if promises:
        console.print(_targets(promises))


def _throughput(told: Json) -> Iterator[Table]:
    shown = table("photos a second on one core", "", "photos/s", "of the bare loop", "p50 ms", "p95 ms", "p99 ms")
    shown.add_row("bare loop", spread(told["bare_photos_per_s"]), "1.00", *waits(told["bare_latency_ms"]))
    for clients, row in told["service"].items():
        share = spread(row["to_bare"], 2)
        shown.add_row(f"clients: {clients}", spread(row["photos_per_s"]), share, *waits(row["latency_ms"]))
    yield shown
    shown = table("one client's wait", "photo", "p50 ms", "decode + networks alone, ms", "ratio")
    for row in told["one_client"]["photos"]:
        shown.add_row(row["photo"], f"{row['p50_ms']:.1f}", f"{row['alone_ms']:.1f}", f"{row['ratio']:.2f}")
    shown.add_row("all", "", "", spread(told["one_client"]["ratio"], 2))
    yield shown
    shown = table("the small scale", "", "photos/s", "ratio")
    shown.add_row("on", spread(told["bare_photos_per_s"]), "1.00")
    small = told["small_scale"]
    shown.add_row("off", spread(small["one_scale_photos_per_s"]), spread(small["cost"], 2))
    yield shown


def _wire(told: Json) -> Iterator[Table]:
    title = (
        f"/detect without networks, {told['picture_bytes'] * 4 / 3e3:.0f} kB body, {told['connections']} connections"
    )
    shown = table(title, "", "requests/s", "ratio", "p50 ms", "p95 ms", "p99 ms")
    ours, plain = told["ours"], told["plain"]
    shown.add_row("plain FastAPI", spread(plain["requests_per_s"], 0), "1.00", *waits(plain["latency_ms"]))
    ratio = spread(told["to_plain"], 2)
    shown.add_row("faceserve", spread(ours["requests_per_s"], 0), ratio, *waits(ours["latency_ms"]))
    yield shown


def _steps(told: Json) -> Iterator[Table]:
    shown = table("one request, µs", "step", "usual", "ours", "ratio")
    for row in (*told["steps"], told["total"]):
        shown.add_row(row["step"], spread(row["usual_us"], 0), spread(row["ours_us"], 0), spread(row["ratio"]))
    yield shown
    shown = table("left out of it, µs", "", "")
    for name, cost in told["left_out_us"].items():
        shown.add_row(name, spread(cost, 0))
    yield shown
    shown = table("is the baseline the usual code?", "operation", "µs", "of imdecode", "known", "apart")
    for row in told["yardstick"]:
        apart = f"{row['deviation']:+.0%}" + ("" if row["within_tolerance"] else " !")
        known = f"{row['known_to_imdecode']:.3f}"
        shown.add_row(row["operation"], spread(row["usual_us"], 0), spread(row["to_imdecode"], 3), known, apart)
    yield shown


def _start(told: Json) -> Iterator[Table]:
    shown = table("cold start, s", "", "s", "ratio")
    shown.add_row(told["imports"], spread(told["imports_s"], 2), "1.00")
    shown.add_row("faceserve serve to /readyz", spread(told["to_ready_s"], 2), spread(told["to_imports"], 2))
    yield shown


def _soak(told: Json) -> Iterator[Table]:
    shown = table(f"{told['requests']} mixed requests", "", "")
    shown.add_row("statuses", ", ".join(f"{status}: {times}" for status, times in told["statuses"].items()))
    for name, index in (("at the start", 0), ("at the end", -1)):
        shown.add_row(f"worker's memory {name}", f"{told['resident_bytes'][index] / 2**20:.1f} MiB")
    shown.add_row("growth after warm-up", f"{told['growth_percent']:+.1f} %")
    yield shown


def _targets(promises: Sequence[Target]) -> Table:
    shown = table("promises", "", "aim", "found", "")
    for target in promises:
        shown.add_row(
            target.name, target.aim, f"{target.found:.2f}", "[green]met[/]" if target.met else "[red]missed[/]"
        )
    return shown


TABLES: dict[str, Callable[[Json], Iterator[Table]]] = {
    "throughput": _throughput,
    "wire": _wire,
    "steps": _steps,
    "start": _start,
    "soak": _soak,
    "engines": engines_tables.tables,
    "tables": writing.tables,
    "load": load_tables.tables,
    "pairs": pairs_tables.tables,
    "gallery": gallery_tables.tables,
}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout, or beside packages that were unpacked by hand
        return "unknown"


def _cpu() -> str:
    if CPUINFO.is_file():
        for line in CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
