"""Identities that expire, over real sockets and from whichever worker."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.integration.running import Client, Running, encoded


def moment(told: str | None) -> float:
    """Seconds since 1970 of what an answer says; infinity for null."""
    return math.inf if told is None else datetime.fromisoformat(told.replace("Z", "+00:00")).timestamp()


def end_of(client: Client, name: str, collection: str) -> str | None:
    told: str | None = client.get(f"/gallery/{name}?collection={collection}").json["expires_at"]
    return told


@pytest.fixture
def guests(client: Client) -> Iterator[Client]:
    """`guests`, who stay for an hour unless something else is said."""
    created = client.post("/collections", {"name": "guests", "ttl_s": 3600})
    assert (created.status, created.json["ttl_s"]) == (201, 3600)
    yield client
    assert client.ask("DELETE", "/collections/guests").status == 200


def test_expired_by_one_worker_is_expired_by_all(service: Running, astronaut: bytes, guests: Client) -> None:
    began = time.time()
    assert guests.enroll("eileen", astronaut, collection="guests", ttl_s=2).status == 201
    end = moment(end_of(guests, "eileen", "guests"))
    assert began + 2 - 0.001 <= end <= time.time() + 2
    with service.client() as one, service.client() as two, service.client() as three:
        clients = [one, two, three]
        while time.time() < end:
            for client in clients:
                asked = time.time()
                found = client.names(astronaut, collection="guests")
                if time.time() < end:
                    assert found == ["eileen"]
                elif asked >= end:
                    assert found == [None]
        for client in clients:
            assert client.names(astronaut, collection="guests") == [None]
            assert client.get("/gallery/eileen?collection=guests").code == "identity_not_found"
            assert client.get("/collections/guests").json["identities"] == 0
            assert client.get("/gallery?collection=guests").json["identities"] == []


def test_an_end_is_given_as_a_date_moved_and_taken_away(guests: Client, hopper: bytes) -> None:
    path, began = "/gallery/grace?collection=guests", time.time()
    assert guests.enroll("grace", hopper, collection="guests").status == 201
    assert began + 3600 - 0.001 <= moment(end_of(guests, "grace", "guests")) <= time.time() + 3600
    again = guests.enroll("grace", hopper, collection="guests", expires_at="2099-12-31T18:00:00.25+01:00")
    assert (again.status, end_of(guests, "grace", "guests")) == (200, "2099-12-31T17:00:00.250Z")
    assert guests.patch(path, {"metadata": {}}).json["expires_at"] == "2099-12-31T17:00:00.250Z"
    assert guests.patch(path, {"expires_at": "2098-01-01T00:00:00Z"}).json["expires_at"] == "2098-01-01T00:00:00.000Z"
    assert guests.patch(path, {"expires_at": None}).json["expires_at"] is None
    (listed,) = guests.get("/gallery?collection=guests").json["identities"]
    assert listed["expires_at"] is None


def test_an_end_comes_by_form_and_by_query_too(guests: Client, astronaut: bytes) -> None:
    end = "2099-12-31T18:00:00%2B01:00"
    path = f"/gallery?identity=query&collection=guests&expires_at={end}"
    assert guests.ask("POST", path, astronaut, content_type="image/jpeg").status == 201
    fields = {"identity": b"form", "collection": b"guests", "ttl_s": b"7200"}
    parts = [*fields.items(), ('image"; filename="a.jpg', astronaut)]
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts
    )
    answer = guests.ask("POST", "/gallery", body + b"--b--", content_type="multipart/form-data; boundary=b")
    assert answer.status == 201
    assert end_of(guests, "query", "guests") == "2099-12-31T17:00:00.000Z"
    assert moment(end_of(guests, "form", "guests")) - time.time() == pytest.approx(7200, abs=60)


YESTERDAY = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"expires_at": YESTERDAY}, "expires_at"),
        ({"expires_at": "2099-12-31T18:00:00"}, "expires_at"),
        ({"expires_at": "2099-12-31"}, "expires_at"),
        ({"expires_at": "2099-02-31T18:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
        ({"expires_at": 4102444800}, "expires_at"),
        ({"expires_at": "4102444800"}, "expires_at"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"ttl_s": -1}, "ttl_s"),
        ({"ttl_s": 1e11}, "ttl_s"),
        ({"ttl_s": 60, "expires_at": "2099-12-31T18:00:00Z"}, ""),
    ],
)
def test_what_is_no_end_is_refused(client: Client, astronaut: bytes, asked: dict[str, Any], field: str) -> None:
    answer = client.enroll("eileen", astronaut, **asked)
    assert answer.code == "invalid_request"
    assert [error["field"] for error in answer.json["errors"]] == [field]
    if "expires_at" in asked and "ttl_s" not in asked:
        assert client.patch("/gallery/eileen", asked).code == "invalid_request"
    if "ttl_s" in asked and "expires_at" not in asked:
        assert client.post("/collections", {"name": "never-made"} | asked).code == "invalid_request"


def test_an_end_is_part_of_what_a_key_stands_for(guests: Client, astronaut: bytes) -> None:
    body = {"identity": "eileen", "collection": "guests", "image": encoded(astronaut), "ttl_s": 900}
    first = guests.post("/gallery", body, idempotency_key="an-end")
    assert first.status == 201
    assert guests.post("/gallery", body, idempotency_key="an-end").json["face_ids"] == first.json["face_ids"]
    for other in ({"ttl_s": 901}, {"ttl_s": None}, {"ttl_s": None, "expires_at": "2099-12-31T18:00:00Z"}):
        assert guests.post("/gallery", body | other, idempotency_key="an-end").code == "idempotency_conflict"
