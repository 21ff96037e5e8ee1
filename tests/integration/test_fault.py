"""A worker whose engines fail for good: it says so, answers what is under way, ends, and is replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from app.build import open_service
from app.schemas import DetectOptions
from app.settings import Settings
from engines.base import DeviceLostError
from tests.integration.losing import CALLS, LOST, MARKER, SERVE_LOSING, losing
from tests.integration.running import Client, Running, encoded, running, wait_for

HUNG = 0


@contextmanager
def losing_service(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, calls: int, **settings: object
) -> Iterator[Running]:
    monkeypatch.setenv(CALLS, str(calls))
    monkeypatch.setenv(MARKER, str(data_dir / "lost"))
    with running(data_dir, SERVE_LOSING, **settings) as service:
        yield service


def test_what_has_failed_is_not_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, astronaut: bytes) -> None:
    monkeypatch.setattr("app.build.load_engine", losing(calls=2))
    with open_service(Settings(data_dir=tmp_path)) as service:
        assert len(service.detect(astronaut, DetectOptions())["faces"]) == 1
        assert (service.fault, service.reasons_not_ready()) == (None, [])
        with pytest.raises(DeviceLostError):
            service.detect(astronaut, DetectOptions())
        assert service.fault == LOST
        (reason,) = service.reasons_not_ready()
        assert reason.startswith("The engines have failed")
        assert LOST not in reason


def test_a_failed_worker_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, astronaut: bytes) -> None:
    with losing_service(monkeypatch, tmp_path, calls=3) as service:
        with service.client() as client:
            failed = client.worker
            assert client.names(astronaut) == client.names(astronaut) == [None]
            answer = client.post("/recognize", {"image": encoded(astronaut)})
            assert (answer.status, answer.code) == (503, "not_ready")
            assert int(answer.headers["retry-after"]) >= 1
            assert LOST.encode() not in answer.body
        wait_for(lambda: answers(service, astronaut))
        assert service.worker_pids() != [failed]
        assert f"the engines have failed, this worker ends: {LOST}" in service.log
        assert f"worker {failed} ended with exit code 4 and is replaced" in service.log
        assert service.stop() == 0


def test_requests_under_way_are_answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, astronaut: bytes) -> None:
    with losing_service(monkeypatch, tmp_path, calls=11) as service, service.client() as client:
        results = client.post("/detect", {"images": [encoded(astronaut)] * 20}).json["results"]
        assert sum("faces" in result for result in results) == 10
        assert [result["code"] for result in results if "faces" not in result] == ["not_ready"] * 10


def test_nobody_hangs_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, astronaut: bytes) -> None:
    statuses: list[int] = []

    def ask(port: int) -> None:
        for _ in range(4):
            with closing(Client(port)) as client:
                try:
                    statuses.append(client.post("/detect", {"image": encoded(astronaut)}).status)
                except TimeoutError:
                    statuses.append(HUNG)
                except (OSError, HTTPException):  # the worker had not taken the connection yet
                    pass

    with losing_service(monkeypatch, tmp_path, calls=5, workers=2) as service:
        clients = [threading.Thread(target=ask, args=(service.port,)) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) > 8
        wait_for(lambda: len(service.worker_pids()) == 2 and "ended with exit code 4" in service.log)
        with service.one_client_a_worker(2) as both:
            for each in both:
                assert each.names(astronaut) == [None]
        assert service.stop() == 0


def answers(service: Running, image: bytes) -> bool:
    try:
        with service.client() as client:
            return client.post("/detect", {"image": encoded(image)}).status == 200
    except (OSError, HTTPException):
        return False
