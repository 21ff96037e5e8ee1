"""With a cache nothing is done twice; and nothing is taken from it that another pair or other code made."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import images
from app.evaluation.photos import Photo
from app.evaluation.run import Embedded, Method, open_run
from app.pipeline import Pipeline
from app.settings import Settings
from engines.models import SHIPPED, ModelStore
from tests.app.evaluation.run_photos import blank, encoded, photos, sample
from tests.pixels import write_pixels

ROOT = Path(__file__).resolve().parents[3]
FLOATS = (4 + 1 + 256) * 4 + 8  # a row of an embedding: box, score, the shipped embedder's numbers; two counts


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many pictures were decoded, detected and embedded."""
    counts: Counter[str] = Counter()

    def count(home: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(home, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(home, name, counted)

    count(images, "decode")
    count(Pipeline, "detect")
    count(Pipeline, "embed")
    return counts


def embedded(folder: Path, method: Method, **settings: object) -> Embedded:
    given = Settings.model_validate({"data_dir": folder} | settings)
    with open_run(given, cache=folder / "cache.sqlite") as run:
        return run.embed([*photos(4), blank()], method)


def assert_same(one: Embedded, other: Embedded) -> None:
    for field in fields(Embedded):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def test_a_second_run_does_nothing_and_gives_the_same(tmp_path: Path, done: Counter[str]) -> None:
    first = embedded(tmp_path, Method())
    assert done == {"decode": 5, "detect": 5, "embed": 4}
    done.clear()
    assert_same(embedded(tmp_path, Method()), first)
    assert not done


def test_another_way_to_embed_does_not_detect_again(tmp_path: Path, done: Counter[str]) -> None:
    write_pixels(ModelStore(SHIPPED, tmp_path / "models"))
    plain = embedded(tmp_path, Method())
    for method, settings in ((Method(flip=True), {}), (Method(face="largest"), {}), (Method(), {"embedder": "pixels"})):
        done.clear()
        other = embedded(tmp_path, method, **settings)
        assert done == {"decode": 4, "embed": 4}  # the blank one has no face to cut out
        np.testing.assert_array_equal(other.boxes, plain.boxes)
    assert other.embeddings.shape[1] != plain.embeddings.shape[1]


@pytest.mark.parametrize(
    ("method", "settings"),
    [(Method(min_score=0.31), {}), (Method(), {"small_scale": False}), (Method(), {"max_image_pixels": 10**6})],
)
def test_another_way_to_detect_does_all_again(
    tmp_path: Path, done: Counter[str], method: Method, settings: dict[str, object]
) -> None:
    embedded(tmp_path, Method())
    done.clear()
    embedded(tmp_path, method, **settings)
    assert done == {"decode": 5, "detect": 5, "embed": 4}


def test_other_code_does_all_again(tmp_path: Path, done: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedded(tmp_path, Method())
    done.clear()
    monkeypatch.setattr("app.evaluation.run.source_fingerprint", lambda: "other code")
    assert_same(embedded(tmp_path, Method()), first)
    assert done == {"decode": 5, "detect": 5, "embed": 4}


def test_ready_crops_and_broken_files_are_kept_too(tmp_path: Path, done: Counter[str]) -> None:
    crop = Photo("crop", None, encoded(sample("astronaut")[60:172, 170:282]))
    broken = Photo("broken", None, b"no picture")
    for _ in range(2):
        with open_run(Settings(data_dir=tmp_path), cache=tmp_path / "cache.sqlite") as run:
            assert run.embed([crop], Method(aligned=True)).found.all()
            assert run.embed([broken], Method()).unreadable == ("broken",)
            assert run.detect([broken], min_score=0.5) == [None]
    assert done == {"decode": 2, "embed": 1}  # the detections are those of `embed`, whose least score is 0.5 too


def test_without_a_cache_nothing_outlives_the_run(tmp_path: Path, done: Counter[str]) -> None:
    for _ in range(2):
        with open_run(Settings(data_dir=tmp_path), cache=None) as run:
            run.embed(photos(1), Method())
    assert done == {"decode": 2, "detect": 2, "embed": 2}
    assert list(tmp_path.iterdir()) == []


CHILD = """
import sys
from pathlib import Path
import app.evaluation.cache
from app.evaluation.run import Method, open_run
from app.settings import Settings
from tests.app.evaluation.run_photos import photos
app.evaluation.cache.COMMIT_ROWS = 5
with open_run(Settings(data_dir=sys.argv[1], pipeline_threads=2), cache=Path(sys.argv[1]) / "cache.sqlite") as run:
    run.embed(photos(30), Method())
print("done")
"""


def embeddings_kept(cache: Path) -> int:
    with closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            query = "SELECT count(*) FROM kept WHERE length(value) = ?"
            return int(connection.execute(query, (FLOATS,)).fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # not made yet


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, done: Counter[str]) -> None:
    cache = tmp_path / "cache.sqlite"
    with subprocess.Popen([sys.executable, "-c", CHILD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as child:
        while child.poll() is None and (not cache.is_file() or embeddings_kept(cache) < 8):
            time.sleep(0.005)
        child.kill()
        assert b"done" not in child.communicate()[0]
    kept = embeddings_kept(cache)
    assert 8 <= kept < 30
    with open_run(Settings(data_dir=tmp_path), cache=cache) as run:
        resumed = run.embed(photos(30), Method())
    assert done["embed"] == 30 - kept
    assert done["detect"] <= 30 - kept
    with open_run(Settings(data_dir=tmp_path), cache=None) as run:
        fresh = run.embed(photos(8), Method())
    np.testing.assert_array_equal(fresh.embeddings, resumed.embeddings[:8])
