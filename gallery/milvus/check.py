"""Does Milvus hold what the gallery means it to hold? A slow, obvious look at every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gallery.milvus import records
from gallery.milvus.bindings import Bindings, Bound
from gallery.milvus.connection import Connection
from gallery.milvus.records import CROP, OF_A_PERSON


def check(connection: Connection, bindings: Bindings) -> list[str]:
    """The differences in all collections, without names of people. Takes memory for every identity's id."""
    found = [f"{name} belongs to no collection: making one was cut short; drop it" for name in bindings.unclaimed()]
    for bound in bindings.all():
        found += bindings.on(bound.name, lambda current: list(differences(connection, current)))
    return found


def differences(connection: Connection, bound: Bound) -> Iterator[str]:
    """Those in one collection."""
    where = f"collection {bound.name!r}"
    rows = [*records.each(connection, bound, OF_A_PERSON)]
    people = records.people(rows)
    for owner in sorted({row.owner for row in rows} - people.keys()):
        yield f"{where}: identity {owner} is known of, but not there"
    names = Counter(person.name for person in people.values() if not person.is_past)
    for number in sorted(names.values()):
        if number > 1:
            yield f"{where}: one name is borne by {number} identities; rename one of them"
    crops: Counter[str] = Counter()
    for row in connection.rows(bound.records, f'kind == "{CROP}"', ["owner"]):
        crops[row["pk"].removeprefix(CROP).partition("/")[0]] += 1
    for row in connection.rows(bound.faces, 'owner != ""', ["owner", "sha256", "crop"]):
        if row["owner"] not in people:
            yield f"{where}: face {row['pk']} is of nobody"
        if row["pk"] != bound.digest("face", row["owner"], row["sha256"]):
            yield f"{where}: face {row['pk']} has another key than its picture gives"
        if crops.pop(row["pk"], 0) != row["crop"]:
            yield f"{where}: face {row['pk']} has not the crop it had"
    for key in sorted(crops):
        yield f"{where}: there is a crop of {key}, which is no face"
