"""Models appear and go whole: whoever reads meanwhile, whoever writes beside, whatever is killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from engines.base import ModelError
from engines.importing import Expected, import_model
from engines.models import SHIPPED, ModelStore, save_thresholds
from engines.thresholds import Thresholds
from tests.engines.downloads.tiny import network

TABLE = Thresholds(0.3, None, 0.4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An embedder, as an upstream file."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(network(0))
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(SHIPPED, tmp_path / "models")


def test_a_removed_model_is_gone_and_what_ships_stays(source: Path, store: ModelStore) -> None:
    import_model(source, family="arcface", into=store)
    store.remove("tiny")
    assert [model.name for model in store.list()] == ["mobilefacenet_256", "retinaface_mnet025"]
    assert list(store.folders[-1].iterdir()) == []
    with pytest.raises(ModelError, match="no model 'tiny'"):
        store.remove("tiny")
    with pytest.raises(ModelError, match="comes with the source"):
        store.remove("mobilefacenet_256")
    assert store.verify("mobilefacenet_256").dimension == 256


def test_removing_a_shipped_models_successor_brings_it_back(store: ModelStore) -> None:
    shipped = store.get("mobilefacenet_256")
    save_thresholds("mobilefacenet_256", TABLE, store)
    store.remove("mobilefacenet_256")
    assert store.get("mobilefacenet_256") == shipped


def test_readers_see_a_model_whole_or_not_at_all(source: Path, store: ModelStore) -> None:
    """One thread imports, replaces and removes, another lists all the while."""
    spec = import_model(source, family="arcface", into=store)
    folder, kept = spec.files[0].path.parent, source.parent / "kept"
    shutil.copytree(folder, kept)
    seen, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append({model.name: model for model in store.list()}.get("tiny"))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for _ in range(20):
            store.remove("tiny")
            for replace_it in (False, True):
                with store.adding("tiny", replace=replace_it) as fresh:
                    shutil.copytree(kept, fresh, dirs_exist_ok=True)
        done.set()
        reading.result()
    assert set(map(repr, seen)) <= {repr(spec), repr(None)}
    assert spec in seen


KILLED = """
import sys, time
from pathlib import Path
from engines.models import ModelStore
with ModelStore(Path(sys.argv[1])).adding("half") as folder:
    (folder / "640x640.onnx").write_bytes(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_what_a_killed_import_left_goes_with_the_next_but_a_living_one_stays(store: ModelStore) -> None:
    last = store.folders[-1]
    with subprocess.Popen([sys.executable, "-c", KILLED, last], stdout=subprocess.PIPE, text=True) as importer:
        try:
            assert importer.stdout
            assert importer.stdout.readline() == "begun\n"
            with store.adding("other"):
                pass
            (left,) = last.glob(".importing-*")
        finally:
            importer.kill()
    assert left.is_dir()
    with store.adding("third"):
        pass
    assert sorted(path.name for path in last.iterdir()) == ["other", "third"]


def test_two_imports_of_one_name_at_once_leave_one_whole(source: Path, store: ModelStore) -> None:
    def run(channels: Literal["bgr", "rgb"]) -> object:
        try:
            return import_model(source, family="arcface", into=store, expected=Expected(channels=channels))
        except ModelError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, ("bgr", "rgb")))
    assert store.verify("tiny") in done
    assert sorted(type(each).__name__ for each in done) == ["ModelSpec", "str"]
