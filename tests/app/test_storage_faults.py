"""What a client is told while the gallery's storage fails, and that the service serves again when it does not."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import uvicorn

from app.main import create_app
from app.service import FaceService
from app.settings import Settings
from gallery.local.gallery import LocalGallery
from gallery.local.store import Store
from tests.gallery.local.faults.world import face
from tests.integration.running import Answer, Client

EMBEDDER = "digest of an embedder"


@pytest.fixture(scope="module")
def client(service: FaceService) -> Iterator[Client]:
    service.gallery.create_collection("people", EMBEDDER, 16)
    service.gallery.enroll("people", "alice", [face(1)], embedder=EMBEDDER)

    @contextmanager
    def opener(_: Settings) -> Iterator[FaceService]:
        yield service

    server = uvicorn.Server(
        uvicorn.Config(create_app(Settings(), opener), port=0, lifespan="on", ws="none", log_config=None)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    with closing(Client(server.servers[0].sockets[0].getsockname()[1])) as client:
        yield client
    server.should_exit = True
    thread.join()


@pytest.fixture
def store(service: FaceService, client: Client) -> Store:
    assert isinstance(service.gallery, LocalGallery)
    return service.gallery._store


def describe(client: Client, note: str) -> Answer:
    return client.patch("/gallery/alice?collection=people", {"metadata": {"note": note}})


def read(client: Client) -> Answer:
    return client.get("/gallery/alice?collection=people")


def test_a_full_disk_is_507_and_reading_goes_on(client: Client, store: Store) -> None:
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    refused = describe(client, "long " * 3_000)
    assert (refused.status, refused.code) == (507, "storage_full")
    assert str(store.path.parent) not in refused.json["detail"]
    assert read(client).json["metadata"] == {}
    assert client.get("/readyz").status == 200
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert describe(client, "long " * 3_000).status == 200


def test_a_locked_database_is_503_and_reading_goes_on(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_busy_timeout_s", 0.05)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        refused = describe(client, "while it is locked")
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "overloaded", "1")
        assert read(client).status == 200
        blocker.execute("ROLLBACK")
    assert describe(client, "after").status == 200
    assert read(client).json["metadata"] == {"note": "after"}


def test_a_database_that_was_taken_away_is_503_until_it_is_back(client: Client, store: Store) -> None:
    away = store.path.with_suffix(".away")
    store.path.rename(away)
    for refused in (
        describe(client, "nowhere"),
        read(client),
        client.ask("DELETE", "/gallery/alice?collection=people"),
    ):
        assert (refused.status, refused.code) == (503, "not_ready")
        assert str(store.path.parent) not in refused.json["detail"]
    assert client.get("/readyz").status == 503
    away.rename(store.path)
    assert describe(client, "back").status == 200
    assert client.get("/readyz").status == 200
