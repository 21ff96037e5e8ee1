"""The collections that ours are made of in Milvus: their fields and indexes."""

from __future__ import annotations

from typing import Any

from gallery.milvus.connection import AwayError, Connection, Fields
from gallery.types import StorageError

BINDING = "faceserve.binding"
MAX_BODY_BYTES = 65_535
"""The most that a text of Milvus holds."""
FACE_FIELDS = ("owner", "stamp", "face_id", "sha256", "created_at", "place", "quality", "crop")
RECORD_FIELDS = ("owner", "kind", "stamp", "named", "moment", "pieces", "body")
_BUILDING: dict[str, Fields] = {"HNSW": {"M": 32, "efConstruction": 360}}
_NOTHING = (0.0, 0.0)
"""Milvus wants a vector in every collection."""


def make_faces(connection: Connection, name: str, dimension: int, index: str) -> None:
    """A row a face. `pk` is a digest of owner and picture; `crop` the number of pieces that its crop is kept in."""
    schema = _schema()
    _texts(schema, {"owner": 32, "face_id": 32, "sha256": 64, "created_at": 40, "quality": 8192})
    for number in ("stamp", "place", "crop"):
        schema.add_field(number, _types().INT64)
    schema.add_field("embedding", _types().FLOAT_VECTOR, dim=dimension)
    _make(connection, name, schema, "embedding", index, ("owner", "face_id"))


def make_records(connection: Connection, name: str) -> None:
    """A row for everything else that is known; see `records.py`."""
    schema = _schema()
    _texts(schema, {"owner": 32, "kind": 1, "named": 32, "body": MAX_BODY_BYTES})
    for number in ("stamp", "pieces"):
        schema.add_field(number, _types().INT64)
    schema.add_field("moment", _types().DOUBLE)
    schema.add_field("terms", _types().ARRAY, element_type=_types().VARCHAR, max_length=16, max_capacity=4096)
    schema.add_field("nothing", _types().FLOAT_VECTOR, dim=2)
    _make(connection, name, schema, "nothing", "FLAT", ("owner", "named", "kind", "terms"))


def make_claim(connection: Connection, name: str, text: str) -> None:
    """Never loaded. Raises StorageError where it is there already with another text."""
    schema = _schema(text)
    schema.add_field("nothing", _types().FLOAT_VECTOR, dim=2)
    connection.define("create_collection", name, schema=schema, properties={BINDING: text}, consistency_level="Strong")


def searching(index: str, limit: int) -> Fields:
    """The options of a search for that many neighbours in an index of that kind."""
    if index == "HNSW":
        return {"ef": max(128, limit + limit // 2)}
    if index == "DISKANN":
        return {"search_list": max(100, limit + limit // 2)}
    return {}


def record(
    *, pk: str, owner: str, kind: str, stamp: int, named: str, moment: float, pieces: int, terms: list[str], body: str
) -> Fields:
    """A row of records as Milvus takes it."""
    return {
        "pk": pk,
        "owner": owner,
        "kind": kind,
        "stamp": stamp,
        "named": named,
        "moment": moment,
        "pieces": pieces,
        "terms": terms,
        "body": body,
        "nothing": list(_NOTHING),
    }


def _make(connection: Connection, name: str, schema: Any, vector: str, index: str, looked_up: tuple[str, ...]) -> None:
    connection.define("create_collection", name, schema=schema, consistency_level="Strong")
    for field in looked_up:
        _look_up(connection, name, field)
    _index(connection, name, vector, index, {"metric_type": "IP", "params": dict(_BUILDING.get(index, {}))})
    connection.define("load_collection", name)


def _look_up(connection: Connection, name: str, field: str) -> None:
    try:
        _index(connection, name, field, "INVERTED", {})
    except AwayError:
        raise
    except StorageError:  # an earlier Milvus: it looks at every row, which few would notice
        return


def _index(connection: Connection, name: str, field: str, kind: str, options: Fields) -> None:
    from pymilvus import MilvusClient

    parameters = MilvusClient.prepare_index_params()
    parameters.add_index(field_name=field, index_type=kind, **options)
    connection.define("create_index", name, parameters, sync=False)  # loading waits for it


def _schema(description: str = "") -> Any:
    from pymilvus import MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
    schema.add_field("pk", _types().VARCHAR, is_primary=True, max_length=80)
    return schema


def _texts(schema: Any, lengths: dict[str, int]) -> None:
    for name, length in lengths.items():
        schema.add_field(name, _types().VARCHAR, max_length=length)


def _types() -> Any:
    from pymilvus import DataType

    return DataType
