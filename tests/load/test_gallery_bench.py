"""`faceserve bench gallery`, once on a few faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.bench.gallery import measure
from app.bench.gallery.command import gallery
from app.bench.gallery.measure import targets
from app.cli import cli


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
def test_a_small_gallery_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_ENROL_S", 0.3)
    asked = ["bench", "gallery", "--size", "500x16", "--rounds", "1", "--out", str(tmp_path), "--work", str(tmp_path)]
    assert CliRunner().invoke(cli, asked, catch_exceptions=False).exit_code == 0
    told = json.loads((tmp_path / "gallery.json").read_bytes())
    (size,) = told["gallery"]["sizes"]
    assert (size["rows"], size["dimension"]) == (500, 16)
    assert size["agreement"]["same"] == size["agreement"]["queries"]
    assert size["together_per_s"]["ours"]["median"] > 0
    assert size["enrolling"]["enrolments_per_s"] > 0
    assert len(size["open_s"]) == 4
    assert [target["name"] for target in told["targets"]] == [target.name for target in targets(told["gallery"])]


@pytest.mark.parametrize("size", ["500", "x16", "500x", "0x16", "500x16x2"])
def test_nonsense_is_refused(size: str) -> None:
    with pytest.raises(typer.BadParameter, match="FACESxDIMENSION"):
        gallery(size=[size])
