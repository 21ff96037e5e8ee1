"""A measured table, saved for the shipped embedder: the service draws its lines by it and says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.build import model_store, open_service
from app.schemas import EnrollOptions
from app.settings import Settings
from engines.models import SHIPPED, save_thresholds
from engines.thresholds import FarRow, Thresholds, false_match_rate
from gallery.gallery import Gallery
from gallery.types import NewFace
from tests.integration.running import Client, encoded, running

EMBEDDER = "mobilefacenet_256"
TABLE = Thresholds.measured(
    [FarRow(0.21, 1e-2, 9e-3, 1.2e-2), FarRow(0.33, 1e-3, 7e-4, 1.5e-3), FarRow(0.43, 1e-4, 6e-5, 1.7e-4)], "a test"
)
SIZES = (10, 11, 100, 101)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, astronaut: bytes) -> Iterator[Client]:
    """Of a service whose collections were made before the table was saved: Eileen's, and crowds of strangers."""
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(data_dir=folder)
    with open_service(settings) as service:
        options = EnrollOptions(identity="eileen")
        service.enroll([service.prepare(astronaut, options)], options, request_id="r")
        for size in SIZES:
            service.new_collection(f"crowd-{size}")
            people(service.gallery, f"crowd-{size}", size)
    save_thresholds(EMBEDDER, TABLE, model_store(settings))
    with running(folder, workers=1) as served, served.client() as client:
        yield client
        assert "warning" not in served.log.lower()


def people(gallery: Gallery, collection: str, count: int) -> None:
    embedder = gallery.collection(collection)
    vectors = np.random.default_rng(count).normal(size=(count, embedder.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for number, vector in enumerate(vectors):
        face = NewFace(vector, f"{number:064x}")
        gallery.enroll(collection, f"stranger {number}", [face], embedder=embedder.embedder)


def line(answer: dict[str, Any]) -> tuple[Any, ...]:
    assert "provisional" not in answer
    return tuple(answer[name] for name in ("threshold", "far", "expected_false_match_rate", "warning"))


@pytest.mark.parametrize(
    ("collection", "identities", "row"),
    [("default", 1, 0), ("crowd-10", 10, 1), ("crowd-11", 11, 2), ("crowd-100", 100, 2)],
)
def test_the_line_follows_from_the_collections_size(
    client: Client, group: bytes, collection: str, identities: int, row: int
) -> None:
    expected = TABLE.table[row].threshold, TABLE.table[row].far, false_match_rate(TABLE.table[row].far, identities)
    answer = client.post("/recognize", {"image": encoded(group), "collection": collection}).json
    assert line(answer) == (*expected, None)
    assert answer["expected_false_match_rate"] <= 0.01 * (1 + 1e-9)
    vector = [1.0] + [0.0] * 255
    search = client.post("/gallery:search", {"embeddings": [vector], "collection": collection}).json
    assert line(search) == (*expected, None)


def test_past_the_tables_end_there_is_a_warning(client: Client, group: bytes) -> None:
    answer = client.post("/recognize", {"image": encoded(group), "collection": "crowd-101"}).json
    threshold, far, expected, warning = line(answer)
    assert (threshold, far, expected) == (0.43, 1e-4, false_match_rate(1e-4, 101))
    assert "101 identities need a FAR of 9.9e-05, but the model's table ends at 1.0e-04" in warning


def test_one_to_one_is_decided_at_the_far_for_it(client: Client, astronaut: bytes, hopper: bytes) -> None:
    answer = client.post("/verify", {"image": encoded(astronaut), "reference": encoded(hopper)}).json
    assert line(answer) == (0.33, 1e-3, 1e-3, None)
    assert not answer["match"]
    asked = client.post("/verify", {"image": encoded(astronaut), "identity": "eileen", "threshold": 0.5}).json
    assert line(asked) == (0.5, None, None, None)
    assert asked["match"]


def test_models_show_the_saved_one_once_with_its_intervals(client: Client) -> None:
    [model] = [model for model in client.get("/models").json["models"] if model["name"] == EMBEDDER]
    assert model["loaded"]
    assert model["thresholds"] == TABLE.as_dict()
    assert model["thresholds"]["table"][1] == {"threshold": 0.33, "far": 1e-3, "low": 7e-4, "high": 1.5e-3}
    [file] = model["files"]
    assert file["sha256"] not in (SHIPPED / EMBEDDER / "model.json").read_text()


def test_what_was_enrolled_before_still_fits(client: Client, group: bytes) -> None:
    collections = client.get("/collections").json["collections"]
    assert [(found["fits"], found["embedder_name"]) for found in collections] == [(True, EMBEDDER)] * 5
    assert sorted(map(str, client.names(group))) == ["None", "eileen"]


def test_thresholds_saved_while_a_service_runs_count_from_its_next_start(tmp_path: Path, astronaut: bytes) -> None:
    settings = Settings(data_dir=tmp_path)
    with open_service(settings) as service:
        before = service.about.models()
        save_thresholds(EMBEDDER, TABLE, model_store(settings))
        assert service.about.models() == before
        assert [model["loaded"] for model in before] == [True, True]
    with open_service(settings) as service:
        [shown] = [model for model in service.about.models() if model["name"] == EMBEDDER]
    assert (shown["loaded"], shown["thresholds"]) == (True, TABLE.as_dict())
