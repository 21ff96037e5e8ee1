"""The records' form by itself: what the digest knows of, and what comes back out of a record."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery import exchange
from gallery.exchange import Tally
from gallery.types import Collection, InvalidRecordError, Terms

ID, OTHER, FACE = bytes(range(16)), bytes(16), bytes(range(16, 32))
CREATED = "2026-11-21T10:00:00.000Z"
UNIT = np.array([0.6, 0.8], "<f4").tobytes()
Record = dict[str, Any]


def identity(id_: bytes = ID, **changes: Any) -> Record:
    return {**exchange.identity_record(id_, "Ada", {"age": 36, "city": "London"}, CREATED), **changes}


def face(face_id: bytes = FACE, **changes: Any) -> Record:
    return {**exchange.face_record(face_id, CREATED, bytes(32), {"score": 1.0}, UNIT, b"png"), **changes}


def tallied(*records: Record) -> Tally:
    tally = Tally()
    for record in records:
        tally.add(record)
    return tally


def test_the_digest_is_the_sum_of_the_sha_256_of_each_record() -> None:
    of_identity = (
        f'{ID.hex()}\n{{"created_at":"{CREATED}","id":"{ID.hex()}","identity":"Ada",'
        '"metadata":{"age":36,"city":"London"},"type":"identity"}'
    )
    of_face = (
        f'{ID.hex()}\n{{"created_at":"{CREATED}","crop_png":"cG5n","embedding":"mpkZP83MTD8=","face_id":"{FACE.hex()}",'
        f'"quality":{{"score":1.0}},"source_sha256":"{"00" * 32}","type":"face"}}'
    )
    total = sum(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") for text in (of_identity, of_face))
    tally = tallied(identity(), face())
    assert tally.digest == f"{total % 2**256:064x}"
    assert tally.end() == {"type": "end", "identities": 1, "faces": 1, "digest": tally.digest}
    assert Tally().digest == "0" * 64


def test_the_digest_does_not_know_of_order() -> None:
    one, two = face(), face(OTHER)
    parted = tallied(identity(OTHER), identity(), two, one)
    assert tallied(identity(), one, two, identity(OTHER)).digest == parted.digest


def test_the_digest_knows_whose_a_face_is_and_how_often_it_comes() -> None:
    mine = tallied(identity(), face(), identity(OTHER))
    assert tallied(identity(), identity(OTHER), face()).digest != mine.digest
    assert tallied(identity(), face(), face(), identity(OTHER)).digest != mine.digest


@pytest.mark.parametrize(
    "changed",
    [
        [identity(identity="ada"), face()],
        [identity(metadata={"age": 36}), face()],
        [identity(metadata={"age": "36", "city": "London"}), face()],
        [identity(created_at="2026-11-21T10:00:00.001Z"), face()],
        [identity(expires_at=1.0), face()],
        [identity(OTHER), face()],
        [identity(), face(OTHER)],
        [identity(), face(created_at="2026-11-21T10:00:00.001Z")],
        [identity(), face(source_sha256="01" + "00" * 31)],
        [identity(), face(quality={"score": 0.99})],
        [identity(), face(quality={})],
        [identity(), face(embedding="mpkZP83MTD4=")],
        [identity(), face(crop_png=None)],
        [identity()],
    ],
)
def test_the_digest_knows_everything_that_a_record_carries(changed: list[Record]) -> None:
    assert tallied(*changed).digest != tallied(identity(), face()).digest


def test_how_a_record_was_written_is_not_what_it_says() -> None:
    swapped = dict(reversed(identity().items()))
    del swapped["expires_at"]  # as exports were before there was any
    assert tallied(swapped, face(quality={"score": 1})).digest == tallied(identity(), face()).digest
    assert tallied(identity(expires_at=7)).digest == tallied(identity(expires_at=7.0)).digest


def test_an_end_that_tells_of_something_else_is_refused() -> None:
    tally = tallied(identity(), face())
    tally.check(tally.end())
    tally.check({"type": "end", "identities": 1, "faces": 1})
    for wrong in ({"identities": 2}, {"faces": 0}, {"digest": "0" * 64}, {"digest": None}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            tally.check({**tally.end(), **wrong})


@pytest.mark.parametrize("record", [{"type": "riddle"}, {"type": ["face"]}, {"type": "face"}, {}, {"type": "identity"}])
def test_other_records_are_not_counted(record: Record) -> None:
    with pytest.raises(InvalidRecordError, match="record 7 of the export: "), exchange.placed(7):
        Tally().add(record)


def test_metadata_too_deep_to_write_is_refused() -> None:
    deep: Record = {}
    for _ in range(100_000):
        deep = {"in": deep}
    with pytest.raises(InvalidRecordError, match="Recursion"), exchange.placed(1):
        Tally().add(identity(metadata=deep))


@pytest.mark.parametrize("moment", ["tomorrow", True, float("inf"), float("nan"), [1], -1, 1e12])
def test_an_expiry_is_a_number_of_seconds(moment: object) -> None:
    with pytest.raises(InvalidRecordError, match="expires_at"), exchange.placed(1):
        exchange.identity_of(identity(expires_at=moment))


def test_a_header_carries_what_the_collection_is_bound_to() -> None:
    collection = Collection("people", "digest", 2, CREATED, 0, 0, "mean", 5, 6, 7.5)
    terms = Terms("mean", 5, 6, 7.5)
    assert exchange.checked_header(exchange.header(collection), "digest") == ("people", 2, terms)
    old = {"type": "collection", "format": exchange.FORMAT, "collection": "a", "embedder": "digest", "dimension": 2}
    assert exchange.checked_header(old, "digest") == ("a", 2, Terms())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=8,
)


@given(
    st.binary(min_size=16, max_size=16),
    st.dictionaries(st.text(), json_values, max_size=4),
    st.none() | st.floats(0, 2e11),
)
def test_an_identity_comes_out_of_its_record_as_it_went_in(id_: bytes, metadata: Record, expires: float | None) -> None:
    record = exchange.identity_record(id_, "Ada", metadata, CREATED, expires)
    travelled = json.loads(json.dumps(record))
    found = exchange.identity_of(travelled)
    assert (found.id, found.name, found.metadata, found.created_at) == (id_, "Ada", metadata, CREATED)
    assert found.expires_at == expires
    assert tallied(travelled).digest == tallied(record).digest


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4).filter(lambda row: np.linalg.norm(row) > 0.1),
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    st.none() | st.binary(),
)
def test_a_face_comes_out_of_its_record_bit_for_bit(row: list[float], quality: Record, crop: bytes | None) -> None:
    unit = (np.array(row) / np.linalg.norm(row)).astype("<f4")
    record = exchange.face_record(FACE, CREATED, bytes(range(32)), quality, unit.tobytes(), crop)
    found = exchange.face_of(json.loads(json.dumps(record)), 4)
    assert (found.id, found.created_at, found.face.crop_png) == (FACE, CREATED, crop)
    assert found.face.embedding.astype("<f4").tobytes() == unit.tobytes()
    assert (found.face.quality, found.face.source_sha256) == (quality, bytes(range(32)).hex())
