"""The model store: what ships verifies, and imports are whole or nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.base import ModelError, RuntimeMissingError
from engines.importing import Expected, import_model
from engines.models import SHIPPED, ModelStore, save_thresholds
from engines.thresholds import FarRow, Thresholds

TABLE = Thresholds.measured([FarRow(0.3, 1e-3, 8e-4, 1.3e-3), FarRow(0.5, 1e-6)], "a test")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An embedder of one convolution, as an upstream file."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(16, 3, 112, 112)).astype(np.float32) * 0.01
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weights"], ["map"]),
            helper.make_node("Flatten", ["map"], ["vector"]),
        ],
        "upstream",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(SHIPPED, tmp_path / "models")


@pytest.mark.parametrize(
    ("name", "task", "sizes", "dimension"),
    [
        ("retinaface_mnet025", "detector", ((640, 640), (192, 192)), None),
        ("mobilefacenet_256", "embedder", ((112, 112),), 256),
    ],
)
def test_the_shipped_pair_verifies(
    name: str, task: str, sizes: tuple[tuple[int, int], ...], dimension: int | None
) -> None:
    spec = ModelStore(SHIPPED).verify(name)
    assert (spec.task, spec.sizes, spec.dimension) == (task, sizes, dimension)
    assert "research-only" in spec.licence
    assert "retrain" in spec.note
    assert spec.commercial_use is None
    for file in spec.files:
        said = {entry.key: entry.value for entry in onnx.load(file.path).metadata_props}
        assert said["family"] == spec.family
        assert said["input_size"] == f"{file.size[0]}x{file.size[1]}"
        assert said["source_sha256"] == spec.source_sha256


def test_the_shipped_thresholds_say_what_they_rest_on() -> None:
    thresholds = ModelStore(SHIPPED).get("mobilefacenet_256").thresholds
    assert thresholds is not None
    assert thresholds.note
    if thresholds.verify_far is not None:
        assert thresholds.table
        assert all(row.low is not None and row.high is not None for row in thresholds.table)


def test_the_cards_name_the_shipped_files() -> None:
    cards = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    for spec in ModelStore(SHIPPED).list():
        assert spec.name in cards
        assert spec.digest in cards
        assert spec.source_sha256 in cards


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("retinaface_mnet025", {"family": "retinaface", "sizes": [(640, 640), (192, 192)]}),
        ("mobilefacenet_256", {"family": "arcface", "expected": Expected(channels="bgr")}),
    ],
)
def test_the_same_import_gives_the_shipped_digest(
    shared: Path, tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    again = import_model(
        shared / "models/default" / f"{name}.onnx",
        into=ModelStore(tmp_path),
        **options,  # type: ignore[arg-type]
    )
    assert again.digest == ModelStore(SHIPPED).get(name).digest
    assert again.source_sha256 == ModelStore(SHIPPED).get(name).source_sha256


def test_an_imported_model_is_listed_and_verifies(source: Path, store: ModelStore) -> None:
    spec = import_model(source, family="arcface", into=store, licence="MIT", commercial_use=True, thresholds=TABLE)
    assert [model.name for model in store.list()] == ["mobilefacenet_256", "retinaface_mnet025", "tiny"]
    assert store.verify("tiny") == store.get("tiny") == spec
    assert (spec.licence, spec.commercial_use, spec.thresholds, spec.source) == ("MIT", True, TABLE, "tiny.onnx")
    assert sorted(path.name for path in spec.files[0].path.parent.iterdir()) == ["112x112.onnx", "model.json"]


def test_two_imports_of_the_same_file_are_the_same(source: Path, store: ModelStore) -> None:
    one = import_model(source, family="arcface", into=store, name="one")
    two = import_model(source, family="arcface", into=store, name="two")
    assert one.digest == two.digest
    assert one.files[0].sha256 == two.files[0].sha256
    other = import_model(source, family="arcface", into=store, name="three", expected=Expected(channels="bgr"))
    assert other.digest != one.digest


def test_new_thresholds_leave_the_digest(source: Path, store: ModelStore) -> None:
    before = import_model(source, family="arcface", into=store)
    after = save_thresholds("tiny", TABLE, store)
    assert after.thresholds == TABLE
    assert after.digest == before.digest
    assert after.files[0].sha256 != before.files[0].sha256
    assert store.verify("tiny") == after


def test_new_thresholds_of_a_shipped_model_go_into_the_last_folder(store: ModelStore) -> None:
    shipped = store.get("mobilefacenet_256")
    after = save_thresholds("mobilefacenet_256", TABLE, store)
    assert after.files[0].path.is_relative_to(store.folders[-1])
    assert after.digest == shipped.digest
    assert ModelStore(SHIPPED).get("mobilefacenet_256") == shipped
    assert store.verify("mobilefacenet_256") == after
    assert store.get("mobilefacenet_256").thresholds == TABLE
    assert [model.name for model in store.list()] == ["mobilefacenet_256", "retinaface_mnet025"]


def test_an_existing_name_is_kept_unless_replaced(source: Path, store: ModelStore) -> None:
    first = import_model(source, family="arcface", into=store)
    with pytest.raises(ModelError, match="already"):
        import_model(source, family="arcface", into=store, expected=Expected(channels="bgr"))
    with pytest.raises(ModelError, match="already"):
        import_model(source, family="arcface", into=store, name="mobilefacenet_256")
    assert store.verify("tiny") == first
    assert import_model(source, family="arcface", into=store, replace=True, expected=Expected(channels="bgr")) != first
    assert [path.name for path in store.folders[-1].iterdir()] == ["tiny"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/x", ".hidden", "a\\b", "a\0b", "x" * 65, "ü"])
def test_names_are_plain(source: Path, store: ModelStore, name: str) -> None:
    with pytest.raises(ModelError, match="model name"):
        import_model(source, family="arcface", into=store, name=name)
    assert not store.folders[-1].exists()
    with pytest.raises(ModelError, match="no model"):
        store.get(name)


def test_what_is_not_there_is_named_with_what_is(source: Path, store: ModelStore) -> None:
    with pytest.raises(ModelError, match="known are mobilefacenet_256, retinaface_mnet025"):
        store.get("resnet")
    with pytest.raises(ModelError, match="known are arcface, facenet"):
        import_model(source, family="resnet", into=store)
    assert ModelStore(store.folders[-1] / "nowhere").list() == []


@pytest.mark.parametrize("options", [{"mean": [1, 2]}, {"std": [0]}, {"std": [1, 0, 1]}, {"mean": [float("nan")]}])
def test_nonsense_preprocessing_is_refused(source: Path, store: ModelStore, options: dict[str, list[float]]) -> None:
    with pytest.raises(ModelError, match="finite numbers"):
        import_model(
            source, family="arcface", into=store, expected=Expected(mean=options.get("mean"), std=options.get("std"))
        )


def flip_a_byte(folder: Path) -> None:
    path = folder / "112x112.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(folder: Path) -> None:
    (folder / "112x112.onnx").write_bytes((folder / "112x112.onnx").read_bytes()[:1000])


def remove(folder: Path) -> None:
    (folder / "112x112.onnx").unlink()


def edit(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(manifest | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "SHA-256"),
        (cut_short, "SHA-256"),
        (remove, "cannot read"),
        (edit(digest="0" * 64), "digest"),
        (edit(licence="MIT"), "do not say the same of licence"),
        (edit(family="retinaface"), "do not say the same of family"),
        (edit(dimension=17), "not a canonical embedder"),
        (edit(task="detector"), "not a canonical detector"),
        (edit(format="2"), "import the model anew"),
        (edit(files="x"), "is damaged"),
        (edit(thresholds={"verify": 2}), "not a table"),
        (edit(surprise=1), "is damaged"),
    ],
)
def test_verify_says_what_differs(
    source: Path, store: ModelStore, damage: Callable[[Path], None], message: str
) -> None:
    spec = import_model(source, family="arcface", into=store)
    damage(spec.files[0].path.parent)
    with pytest.raises(ModelError, match=message):
        store.verify("tiny")


def test_a_graph_put_in_the_place_of_another_is_noticed(source: Path, store: ModelStore) -> None:
    ours = import_model(source, family="arcface", into=store)
    theirs = import_model(source, family="arcface", into=store, name="theirs", expected=Expected(channels="bgr"))
    shutil.copy(theirs.files[0].path, ours.files[0].path)
    manifest = json.loads((ours.files[0].path.parent / "model.json").read_text())
    manifest["files"][0]["sha256"] = theirs.files[0].sha256
    edit(files=manifest["files"], channels="bgr", note=theirs.note)(ours.files[0].path.parent)
    with pytest.raises(ModelError, match="digest"):
        store.verify("tiny")


def test_an_old_manifest_is_read_without_the_fields_that_came_later(source: Path, store: ModelStore) -> None:
    spec = import_model(source, family="arcface", into=store)
    path = spec.files[0].path.parent / "model.json"
    manifest = json.loads(path.read_text())
    for later in ("crop", "margin_px", "urls"):
        del manifest[later]
    path.write_text(json.dumps(manifest))
    assert store.verify("tiny") == spec


def test_reading_the_store_imports_no_onnx() -> None:
    code = (
        "import sys; from engines.models import SHIPPED, ModelStore; from engines.families import FAMILIES\n"
        "assert len(ModelStore(SHIPPED).list()) >= 2 and FAMILIES\n"
        "assert not {'onnx', 'onnxruntime', 'cv2', 'faiss'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_failed_import_leaves_the_old_model(source: Path, store: ModelStore) -> None:
    first = import_model(source, family="arcface", into=store)
    source.write_bytes(b"broken")
    with pytest.raises(ModelError):
        import_model(source, family="arcface", into=store, replace=True)
    assert store.verify("tiny") == replace(first)


def test_without_onnx_models_are_verified_by_their_bytes_and_none_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.models.find_spec", lambda name: None)
    store = ModelStore(SHIPPED, tmp_path / "models")
    assert store.verify("mobilefacenet_256").dimension == 256
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[convert\]"):
        import_model(source, family="arcface", into=store)
    assert not (tmp_path / "models").exists()
