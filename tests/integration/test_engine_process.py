"""The service with its engines in a process of their own: the same answers, and whoever dies is replaced."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import LOG, Answer, Client, Running, encoded, free_port, launch, running, wait_for

WORKERS = 2


@pytest.fixture(scope="module")
def engine_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Whoever of it a test kills is back by the test's end."""
    data_dir = tmp_path_factory.mktemp("data")
    with running(data_dir, workers=WORKERS, engine_processes=1, device="cpu") as service:
        yield service
        assert service.stop() == 0


def engine_pid(service: Running) -> int:
    """The child that answers no request."""
    with service.one_client_a_worker(WORKERS) as clients:
        workers = {client.worker for client in clients}
    (pid,) = set(service.worker_pids()) - workers
    return pid


def ready(client: Client) -> bool:
    return client.get("/readyz").status == 200


def test_faces_are_found_and_known_through_it(engine_service: Running, astronaut: bytes, hopper: bytes) -> None:
    with engine_service.one_client_a_worker(WORKERS) as (one, other):
        assert one.enroll("eileen", astronaut).status == 201
        assert other.names(astronaut) == ["eileen"]
        assert other.names(hopper) == [None]
        info = one.get("/info").json
        assert info["runtime"]["device"] == "cpu"
        assert set(info["engines"]) == {"detector_640x640", "detector_192x192", "embedder"}
        metrics = one.get("/metrics").body.decode()
        assert 'faceserve_batch_rows_count{engine="embedder"}' in metrics


def test_a_killed_engine_process_is_replaced_and_the_workers_go_on(engine_service: Running, astronaut: bytes) -> None:
    killed = engine_pid(engine_service)
    with engine_service.one_client_a_worker(WORKERS) as clients:
        before = {client.worker for client in clients}
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: not ready(clients[0]))
        refused = clients[0].post("/detect", {"image": encoded(astronaut)})
        assert (refused.status, refused.code) == (503, "not_ready")
        for client in clients:
            wait_for(lambda client=client: ready(client))
            assert client.post("/detect", {"image": encoded(astronaut)}).status == 200
        assert {client.worker for client in clients} == before
    assert f"{killed} ended by SIGKILL and is replaced" in engine_service.log


def test_a_killed_worker_s_successor_takes_its_seat(engine_service: Running, astronaut: bytes) -> None:
    engine = engine_pid(engine_service)
    with engine_service.client() as client:
        killed = client.worker
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: killed not in engine_service.worker_pids() and len(engine_service.worker_pids()) == WORKERS + 1)
    with engine_service.one_client_a_worker(WORKERS) as clients:
        for client in clients:
            assert client.post("/detect", {"image": encoded(astronaut)}).status == 200
    assert engine in engine_service.worker_pids()


def test_requests_under_way_are_answered_before_the_end(tmp_path: Path, astronaut: bytes) -> None:
    answers: list[Answer] = []
    with (
        running(tmp_path, engine_processes=1, device="cpu") as service,
        service.client() as client,
        service.client() as other,
    ):

        def ask() -> None:
            answers.append(client.post("/detect", {"images": [encoded(astronaut)] * 20}))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: "faceserve_requests_in_flight 2.0" in other.get("/metrics").body.decode())
        assert service.stop() == 0
        asking.join()
        assert "Traceback" not in service.log
    assert [len(result["faces"]) for result in answers[0].json["results"]] == [1] * 20


def test_an_engine_process_that_cannot_start_says_why_and_ends_the_service(tmp_path: Path) -> None:
    process = launch(tmp_path, port=free_port(), engine_processes=1, detector="nothing")
    assert process.wait(timeout=30) == 3
    log = (tmp_path / LOG).read_text()
    assert "nothing" in log
    assert "Traceback" not in log
