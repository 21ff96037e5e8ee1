"""The audit of a real service of several workers: who did what, nobody named, and no answer without its line."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from app.audit.query import Question, answers
from app.audit.subjects import open_subjects
from app.audit.trail import FOLDER
from app.audit.verify import verify
from tests.integration.running import SERVE, Answer, Client, Running, encoded, running

KEYS = {"api_key": "s3cret-old", "api_keys": "door:s3cret-door,office:s3cret-office"}
DOOR, OFFICE = {"x_api_key": "s3cret-door"}, {"x_api_key": "s3cret-office"}
NAME, NEW_NAME, TAG = "Alice Liddell", "Mrs Hargreaves", "alice@example.org"


def records(data_dir: Path, **asked: Any) -> list[dict[str, Any]]:
    return [dict(each) for each in answers(data_dir / FOLDER, Question(**asked))]


def everything(data_dir: Path) -> dict[str, bytes]:
    """All files, but for SQLite's -shm file, which holds page numbers only."""
    found = [path for path in data_dir.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in found}


def test_a_life_in_the_audit_after_its_end(tmp_path: Path, astronaut: bytes) -> None:
    picture = {"image": encoded(astronaut)}
    path = f"/gallery/{NAME.replace(' ', '%20')}"
    with running(tmp_path, audit="all", keep_crops=True, **KEYS) as service:
        with service.client() as client:
            enrol = {"identity": NAME, "metadata": {"mail": TAG}} | picture
            assert client.post("/gallery", enrol, **OFFICE, x_request_id="r1", idempotency_key="k1").status == 201
            assert client.post("/recognize", picture, **DOOR, x_request_id="r2").json["faces"][0]["identity"] == NAME
            assert client.post("/verify", picture | {"identity": NAME}, **DOOR).status == 200
            assert client.post("/annotate", picture, **DOOR).status == 200
            renamed = json.dumps({"identity": NEW_NAME}).encode()
            assert client.ask("PATCH", path, renamed, content_type="application/json", **OFFICE).status == 200
            held = everything(tmp_path)
            assert all(any(word.encode() in data for data in held.values()) for word in (NEW_NAME, TAG))
            erase = f"/gallery/{NEW_NAME.replace(' ', '%20')}"
            assert client.ask("DELETE", erase, None, **OFFICE, x_request_id="r6").status == 200
            assert client.ask("DELETE", erase, None, **OFFICE).status == 404
            assert client.ask("DELETE", erase, x_api_key="wrong").status == 401
            assert client.get("/collections", x_api_key="s3cret-old").status == 200
        for file, data in everything(tmp_path).items():
            words = (NAME, NEW_NAME, TAG, "s3cret", "Alice", "Hargreaves")
            assert [word for word in words if word.encode() in data] == [], file
        assert service.stop() == 0
    subjects = open_subjects(tmp_path, make=False)
    first = records(tmp_path, subject=subjects.digest("default", NAME), collection="default")
    said = [(each["deed"], each["who"], each["via"], each["outcome"]) for each in first]
    assert said == [
        ("create_collection", said[0][1], None, "ok"),
        ("enroll", "office", "POST /gallery", "ok"),
        ("compare", "office", "POST /gallery", "ok"),
        ("search", "door", "POST /recognize", "ok"),
        ("verify", "door", "POST /verify", "ok"),
        ("search", "door", "POST /annotate", "ok"),
        ("rename", "office", "PATCH /gallery/{identity}", "ok"),
    ]
    assert [each["request"] for each in first[1:4]] == ["r1", "r1", "r2"]
    assert {each["from"] for each in first[1:]} == {"127.0.0.1"}
    erased = records(tmp_path, subject=subjects.digest("default", NEW_NAME), deed="erase")
    assert [(each["outcome"], each["who"]) for each in erased] == [("ok", "office"), ("identity_not_found", "office")]
    assert erased[0]["request"] == "r6"
    assert verify(tmp_path / FOLDER).whole


FULL = f"""
import os, signal, resource
from app.audit import trail

real = trail.Trail.append
def append(self, records, *, sync):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if os.path.exists(os.environ["FULL"]):
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
        real(self, records, sync=sync)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
trail.Trail.append = append
{SERVE}
"""
"""A service whose audit alone meets the end of its disk, while the file FULL is there."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers that record all, and the file FULL not there yet."""
    data_dir = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FULL", str(data_dir / "full"))
        with running(data_dir, FULL, workers=2, audit="all") as service:
            yield service


def test_workers_and_commands_at_once_make_one_chain(recorded: Running, astronaut: bytes, hopper: bytes) -> None:
    data_dir = recorded.data_dir
    with recorded.one_client_a_worker(2) as clients:

        def ask(client: Client, name: str, image: bytes) -> None:
            for _ in range(2):
                assert client.enroll(name, image).status in {200, 201}
                client.names(image)
                assert client.erase(name).status == 200

        threads = [
            threading.Thread(target=ask, args=each)
            for each in zip(clients, ("astronaut", "hopper"), (astronaut, hopper), strict=True)
        ]
        for each in threads:
            each.start()
        environment = os.environ | {"FACESERVE_DATA_DIR": str(data_dir), "FACESERVE_AUDIT": "all"}
        command = [sys.executable, "-m", "app.cli", "gallery", "list"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        for each in threads:
            each.join()
        verdict = verify(data_dir / FOLDER)
        assert (verdict.breaks, verdict.notes) == ([], [])
        counts = Counter(each["deed"] for each in records(data_dir, collection="default"))
        asked = {deed: counts[deed] for deed in ("enroll", "search", "erase", "list")}
        assert asked == {"enroll": 4, "search": 4, "erase": 4, "list": 1}
        (listed,) = records(data_dir, deed="list")
        assert listed["who"].startswith("cli:")


def test_a_killed_worker_leaves_a_chain_and_every_answer_has_its_line(recorded: Running, astronaut: bytes) -> None:
    data_dir = recorded.data_dir
    with recorded.one_client_a_worker(2) as (one, other):
        assert other.post("/collections", {"name": "killed"}).status == 201
        victim, answered = one.worker, 0
        timer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
        timer.start()
        with suppress(OSError, HTTPException):
            while True:
                assert one.enroll(f"person {answered}", astronaut, collection="killed").status == 201
                answered += 1
        timer.join()
        assert other.enroll("later", astronaut, collection="killed").status == 201
    assert verify(data_dir / FOLDER).breaks == []
    subjects, enrolled = open_subjects(data_dir), records(data_dir, deed="enroll", collection="killed")
    told = [each["subjects"][0] for each in enrolled if each["outcome"] == "ok"]
    named = [subjects.digest("killed", f"person {number}") for number in range(answered)]
    assert told[:answered] == named
    assert told[-1] == subjects.digest("killed", "later")
    assert len(told) - answered in {1, 2}  # who was killed may have written the line of an answer that did not come


def test_while_its_disk_is_full_nothing_is_done_unrecorded(recorded: Running, astronaut: bytes) -> None:
    data_dir, full = recorded.data_dir, recorded.data_dir / "full"
    with recorded.client() as client:

        def erase(name: str) -> Answer:
            return client.ask("DELETE", f"/gallery/{name}?collection=full")

        assert client.post("/collections", {"name": "full"}).status == 201
        assert client.enroll("alice", astronaut, collection="full").status == 201
        full.touch()
        unwritten = client.enroll("bob", astronaut, collection="full")
        assert (unwritten.status, unwritten.code, unwritten.headers["retry-after"]) == (503, "audit_unwritten", "1")
        assert "may have been done" in unwritten.json["detail"]
        refused = erase("alice")
        assert (refused.status, refused.code) == (503, "audit_unavailable")
        assert str(data_dir) not in refused.body.decode()
        asked = client.post("/recognize", {"image": encoded(astronaut), "collection": "full"})
        assert (asked.status, asked.code) == (503, "audit_unavailable")
        assert client.get("/readyz").status == 503
        assert "The audit cannot be written" in client.get("/readyz").json["detail"]
        full.unlink()
        assert client.get("/readyz").status == 200
        assert erase("alice").status == 200
        assert erase("bob").status == 200  # what was not answered had been done
    assert os.strerror(errno.EFBIG) in recorded.log
    assert "1 lines came late" in recorded.log
    late = [each for each in records(data_dir) if each.get("late")]
    assert [(each["deed"], each["collection"]) for each in late] == [("enroll", "full")]
    assert verify(data_dir / FOLDER).whole
