"""The service with its gallery in Milvus: real photos, two machines' worth of workers, and a Milvus that goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.command import run
from tests.gallery.milvus.conftest import Server
from tests.gallery.milvus.conftest import started as started  # the fixture
from tests.integration.running import Running, running

SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def services(started: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    """Two services, each with a data folder of its own, and one gallery."""
    folders = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")]
    url = started.url.replace("://", f"://me:{SECRET}@")  # milvus-lite asks nobody for a password
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda folder: stack.enter_context(running(folder, gallery=url)), folders)
        yield one, two
        for service in (one, two):
            assert service.stop() == 0
            assert SECRET not in service.log
            assert "Traceback" not in service.log


def test_who_is_enrolled_in_one_service_is_known_to_the_other(
    services: tuple[Running, Running], astronaut: bytes, hopper: bytes, group: bytes
) -> None:
    one, two = services
    with one.client() as first, two.client() as second:
        assert first.enroll("Eileen Collins", astronaut, metadata={"flew": 1993}).status == 201
        assert second.names(astronaut) == ["Eileen Collins"]
        assert second.enroll("Grace Hopper", hopper).status == 201
        assert set(first.names(group)) == {"Eileen Collins", "Grace Hopper"}
        assert first.names(group, filter={"flew": 1993}).count("Eileen Collins") == 1
        again = second.enroll("Eileen Collins", astronaut)
        assert (again.status, again.json["duplicate_of"] is not None) == (200, True)
        assert first.erase("Grace Hopper").status == 200
        assert set(second.names(group)) == {"Eileen Collins", None}
        refused = first.post("/collections", {"name": "means", "scoring": "mean"})
        assert (refused.status, refused.code) == (422, "not_offered")
        assert SECRET not in first.get("/info").body.decode()
        assert not (one.data_dir / "gallery").exists()


def test_while_milvus_is_away_the_answer_is_503_and_afterwards_as_before(
    services: tuple[Running, Running], started: Server, astronaut: bytes, hopper: bytes
) -> None:
    with services[0].client() as client:
        client.enroll("Eileen Collins", astronaut)
        started.kill()
        refused = client.enroll("Grace Hopper", hopper)
        assert (refused.status, refused.code) == (503, "not_ready")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/readyz").status == 503
        assert client.get("/healthz").status == 200
        started.start()
        deadline = time.monotonic() + 30
        while client.get("/readyz").status != 200:
            assert time.monotonic() < deadline, "not ready again"
            time.sleep(0.05)
        assert client.enroll("Grace Hopper", hopper).status == 201
        assert client.names(astronaut) == ["Eileen Collins"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"mongodb://me:{SECRET}@host", "expected milvus://"),
        (f"milvus://me:{SECRET}@127.0.0.1:1", "milvus://127.0.0.1:1 cannot be reached"),
    ],
)
def test_a_gallery_that_is_not_to_be_had_ends_the_command_with_the_reason(
    tmp_path: Path, url: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACESERVE_GALLERY", url)
    monkeypatch.setenv("FACESERVE_DATA_DIR", str(tmp_path))
    done = run(monkeypatch, capsys, "gallery", "list")
    assert done.code != 0
    assert told in done.err
    assert SECRET not in done.err + done.out
    assert "Traceback" not in done.err
