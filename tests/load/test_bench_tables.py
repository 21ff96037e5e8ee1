"""`faceserve bench tables`: that it runs on what there is, and counts and writes right."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.bench import plot
from app.bench.engines import rows
from app.bench.engines.networks import ensure_network
from app.bench.engines.rows import Row, UnknownRowError
from app.bench.published.choice import choose, rows_of
from app.bench.published.figures import FIGURES, figure_for
from app.bench.published.lines import Line, lines, read
from app.bench.published.writing import comma_separated, markdown
from engines.cascade.pyramid import canvas_size
from engines.load import load_engine
from engines.manifest import ModelSpec
from engines.models import SHIPPED, ModelStore
from tests.command import Done

Bench = Callable[..., Done]
MACHINE = {"cpu": "a CPU", "measured_at": "2026-11-21T00:00", "cores": 2, "python": "3.11", "load_average": 0.1}


def found(runtime: str, runs_on: str, **means_ms: float) -> dict[str, Any]:
    """A runtime's figures, as far as tables read them."""
    latencies = {way: {"mean": mean, "p50": 0.0} for way, mean in means_ms.items()}
    return {runtime: {"latency_ms": latencies, "description": {"device": runs_on}}}


def told(model: str, size: tuple[int, int], batch: int, *runtimes: dict[str, Any], random: bool = True) -> Any:
    row = {"model": model, "network": Row(model, size, batch).network, "size": list(size), "batch": batch}
    return row | {"random_weights": random, "runtimes": {name: each for one in runtimes for name, each in one.items()}}


MEASURED = {
    "rows": [
        told("facenet", (160, 160), 32, found("TensorRT fp16", "cuda:0", device=1.0, copies=2.0, call=4.0)),
        told("mobilefacenet_256", (112, 112), 8, found("ONNX Runtime", "cpu", call=80.0), random=False),
    ],
    "left_out": [{"network": "mtcnn@24x24", "batch": 1600, "runtime": "TensorRT fp16", "reason": "too\nlarge"}],
}
TOLD: Any = {"lines": [line.as_json() for line in lines(MEASURED)], "left_out": MEASURED["left_out"]}


def test_quick(bench: Bench, tmp_path: Path) -> None:
    done = bench("tables", "--quick", "--only", "mobilefacenet_256", "--batch", 1, "--out", tmp_path)
    assert done.code == 0, done.err
    whole = json.loads((tmp_path / "tables.json").read_bytes())
    first, *others = read(whole["tables"])
    assert (first.model, first.height, first.width, first.batch) == ("mobilefacenet_256", 112, 112, 1)
    assert first.images_per_s == pytest.approx(1e3 / first.latency_ms)
    assert not first.random_weights
    assert first.runtime.startswith("TensorRT" if "gpu" in whole["machine"] else "ONNX Runtime, one CPU core")
    written = list(csv.DictReader(io.StringIO((tmp_path / "tables.csv").read_text())))
    assert [float(line["latency_ms"]) for line in written] == [line.latency_ms for line in (first, *others)]
    assert whole["machine"].get("gpu", whole["machine"]["cpu"]) in (tmp_path / "tables.md").read_text()
    assert (tmp_path / "tables.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_name_that_nobody_knows_is_refused(bench: Bench, tmp_path: Path) -> None:
    done = bench("tables", "--only", "yolo", "--out", tmp_path)
    assert done.code == 2
    assert "mobilefacenet_256@112x112" in " ".join(done.err.split())


def test_lines() -> None:
    device, call, on_cpu = lines(MEASURED)
    assert device == Line(
        *("facenet", 160, 160, 32, "TensorRT fp16", "device", 32_000.0, 1.0),
        *(5_583, 32_000 / 5_583, "FaceNet, batch 32", True),
    )
    assert (call.way, call.latency_ms, call.images_per_s) == ("call", 4.0, 8_000.0)
    assert call.ratio == pytest.approx(1.433, abs=1e-3)
    assert (on_cpu.runtime, on_cpu.images_per_s) == ("ONNX Runtime, one CPU core", 100.0)
    assert (on_cpu.published_per_s, on_cpu.ratio) == (None, None)
    assert read(TOLD) == [device, call, on_cpu]


def test_markdown() -> None:
    text = markdown(TOLD, MACHINE)
    assert "one core of a CPU (no GPU), 2026-11-21" in text
    assert markdown(TOLD, MACHINE | {"gpu": "a GPU"}).startswith("Measured on a GPU, 2026-11-21")
    assert "## facenet, random weights\n\n| input | batch |" in text
    assert "| 160x160 | 32 | TensorRT fp16 | call | 8,000 | 4.000 | 5,583 | 1.43 |" in text
    assert "## mobilefacenet_256\n" in text
    assert "| 112x112 | 8 | ONNX Runtime, one CPU core | call | 100 | 80.000 |  |  |" in text
    assert "- FaceNet, batch 32\n" in text
    assert "- mtcnn@24x24, batch 1600, TensorRT fp16: too large" in text
    rulers = [line for line in text.splitlines() if line.startswith("| ---")]
    assert all(line.count("|") == 9 for line in rulers)


def test_comma_separated() -> None:
    first, _, last = csv.DictReader(io.StringIO(comma_separated(TOLD)))
    assert (first["model"], first["images_per_s"], first["published_per_s"]) == ("facenet", "32000.0", "5583")
    assert (last["published_per_s"], last["ratio"], last["random_weights"]) == ("", "", "False")


def test_a_plot_with_and_without_published_figures(tmp_path: Path) -> None:
    plot.draw({"machine": MACHINE, "tables": TOLD}, tmp_path / "tables.png")
    assert (tmp_path / "tables.png").stat().st_size > 10_000


def test_every_published_figure_is_of_a_row_that_is_measured() -> None:
    measured = {(row.network, row.batch) for row in rows.ALL}
    assert {(figure.network, figure.batch) for figure in FIGURES} <= measured
    assert figure_for("facenet@160x160", 8) is None


def test_rows_of_the_store_and_known_ones() -> None:
    specs = ModelStore(SHIPPED).list()
    own = choose(specs, (), ())
    assert {row.model for row in own} == {"retinaface_mnet025", "mobilefacenet_256"}
    assert Row("mobilefacenet_256", (112, 112), 128) in own
    assert Row("retinaface_mnet025", (192, 192), 1) in own
    both = choose(specs, ["retinaface_mnet025"], [2])
    assert {row.size for row in both} == {(640, 640), (192, 192), (960, 1280)}
    assert choose(specs, ["mtcnn@24x24"], ()) == [Row("mtcnn", (24, 24), batch) for batch in (1600, 128)]
    with pytest.raises(UnknownRowError, match="yolo"):
        choose(specs, ["yolo"], ())


def test_the_crops_of_a_cascade_come_by_the_hundred(cascade: ModelSpec) -> None:
    batches: dict[tuple[int, int], list[int]] = {}
    for row in rows_of(cascade):
        batches.setdefault(row.size, []).append(row.batch)
    assert batches[24, 24] == batches[48, 48] == [1, 8, 32, 64, 128]
    assert batches[64, 64] == [1, 8, 32]


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """MTCNN with random weights, as the rows have it made."""
    work = tmp_path_factory.mktemp("work")
    row = Row("mtcnn", (64, 64), 1)
    network = ensure_network(row, work)
    assert network.random
    assert ensure_network(row, work) == network
    return ModelStore(work / row.network).get("mtcnn")


def test_the_networks_of_a_cascade_are_made_together(cascade: ModelSpec) -> None:
    assert set(cascade.sizes) == {(64, 64), (24, 24), (48, 48)}
    shapes = {}
    for file in cascade.files:
        engine = load_engine(file.path)
        shapes[file.size] = engine.inputs[0].shape[1:]
        engine.close()
    assert shapes[24, 24] == (24, 24, 3)
    assert shapes[64, 64] == (*canvas_size((64, 64)), 3)
    assert not [path for path in cascade.files[0].path.parents[1].iterdir() if path.suffix == ".onnx"]


def test_the_published_canvas_is_the_one_that_is_told() -> None:
    height, width = canvas_size((1500, 1500))
    figure = figure_for("mtcnn@1500x1500", 8)
    assert figure is not None
    assert f"{height}x{width} px" in figure.of
