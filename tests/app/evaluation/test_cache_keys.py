"""Whatever changes the numbers changes the key."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.build import Batched, open_batched_pipeline
from app.describe import Pair
from app.evaluation.keys import ROOT, SOURCES, Keys, source_fingerprint
from app.settings import Settings

HARMLESS = {
    "app.build": "what it opens is in the keys",
    "app.errors": "errors",
    "app.evaluation.cache": "keeps numbers, makes none",
    "app.evaluation.keys": "the keys",
    "app.evaluation.photos": "the bytes are in the keys",
    "app.schemas": "what a request may say",
    "engines.base": "types",
    "engines.compare": "judges numbers, makes none",
    "engines.cuda": "moves bytes",
    "engines.cudagraph": "moves bytes",
    "engines.families": "least scores and sizes, which are in the keys",
    "engines.feeds": "checks",
    "engines.fingerprint": "digests",
    "engines.load": "which runtime, which is in the keys",
    "engines.manifest": "digests",
    "engines.plan_key": "digests",
    "engines.plans": "digests",
    "engines.precision": "what plans are built of",
    "engines.quality": "of no evaluation",
    "engines.running": "counts calls",
}
"""Modules that the listed ones import and that are not listed."""


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batched]:
    with open_batched_pipeline(Settings(data_dir=tmp_path_factory.mktemp("data"))) as opened:
        yield opened


def others(batched: Batched) -> dict[str, Batched]:
    """The same, but for one thing each."""
    pair = batched.pair
    detector, embedder = replace(pair.detector, digest="0"), replace(pair.embedder, digest="0")
    main, lead = batched.engines["detector_640x640"], batched.engines["embedder"]
    return {
        "detector": replace(batched, pair=Pair(detector, pair.embedder)),
        "its runtime": replace(batched, engines=batched.engines | {"detector_640x640": main | {"version": "0"}}),
        "small scale": replace(batched, defaults=replace(batched.defaults, small_scale=False)),
        "pixels": replace(batched, defaults=replace(batched.defaults, max_pixels=7)),
        "embedder": replace(batched, pair=Pair(pair.detector, embedder)),
        "crop": replace(batched, pair=Pair(pair.detector, replace(pair.embedder, margin_px=3))),
        "precision": replace(batched, engines=batched.engines | {"embedder": lead | {"precision": "fp16"}}),
    }


def test_every_key_is_another(batched: Batched) -> None:
    opened = {"as it is": Keys(batched, "code"), "code": Keys(batched, "other")}
    opened |= {name: Keys(other, "code") for name, other in others(batched).items()}
    faces = {keys.face("central", 0.5, flip=False) for keys in opened.values()}
    assert len(faces) == len(opened)
    crops = {name: keys.ready_crop(flip=False) for name, keys in opened.items()}
    assert {name for name, key in crops.items() if key == crops["as it is"]} == {
        *("as it is", "detector", "its runtime", "small scale")
    }
    found = {name: keys.detections(0.5) for name, keys in opened.items()}
    assert {name for name, key in found.items() if key == found["as it is"]} == {
        *("as it is", "embedder", "crop", "precision")
    }


def test_every_option_makes_another_key(batched: Batched) -> None:
    keys = Keys(batched, "code")
    made = [keys.detections(score) for score in (0.5, 0.25)]
    made += [
        keys.face(rule, score, flip=flip)
        for rule in ("central", "largest")
        for score in (0.5, 0.25)
        for flip in (False, True)
    ]
    made += [keys.ready_crop(flip=flip) for flip in (False, True)]
    assert len(set(made)) == len(made)
    assert keys.detections(1) == Keys(batched, "code").detections(1.0)


def test_every_listed_file_counts(tmp_path: Path) -> None:
    listed = [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    assert all(any(ROOT.glob(pattern)) for pattern in SOURCES)
    for path in listed:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    before = source_fingerprint(tmp_path)
    assert before == source_fingerprint()
    seen = {before}
    for path in listed:
        with (tmp_path / path.relative_to(ROOT)).open("a") as file:
            file.write("#")
        seen.add(source_fingerprint(tmp_path))
    assert len(seen) == len(listed) + 1


def imported(path: Path) -> Iterator[str]:
    """The modules of this project that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("app", "engines"):
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                as_path = name.replace(".", "/")
                module = (ROOT / f"{as_path}.py").is_file() or (ROOT / as_path).is_dir()
                yield name if module else node.module


def test_nothing_that_makes_numbers_is_left_out() -> None:
    listed = {path for pattern in SOURCES for path in ROOT.glob(pattern)}
    names = {path.relative_to(ROOT).as_posix().removesuffix(".py").removesuffix("/__init__") for path in listed}
    used = {name for path in listed for name in imported(path)}
    assert len(used) > 20
    left = {name for name in used if name.replace(".", "/") not in names}
    assert left - HARMLESS.keys() == set()
