"""The gallery's URL: what is understood, what is refused, and that nobody reads the password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.milvus.address import EXPECTED, Address, parse

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "address", "uri", "shown"),
    [
        ("milvus://host", Address("host"), "http://host:19530", "milvus://host:19530"),
        (
            f"milvus://me:{SECRET}%40%2F@host:1/faces",
            Address("host", 1, user="me", password=f"{SECRET}@/", database="faces"),
            "http://host:1",
            "milvus://host:1/faces",
        ),
        ("milvus+tls://[::1]:7", Address("::1", 7, tls=True), "https://[::1]:7", "milvus+tls://[::1]:7"),
        ("milvus://host?index=hnsw", Address("host", index="HNSW"), "http://host:19530", "milvus://host:19530"),
    ],
)
def test_a_server_is_understood(url: str, address: Address, uri: str, shown: str) -> None:
    parsed = parse(url)
    assert parsed == address
    assert (parsed.uri, str(parsed)) == (uri, shown)
    assert SECRET not in f"{parsed} {parsed!r}"


def test_a_file_is_searched_exactly() -> None:
    assert parse("milvus:///srv/a%20b/faces.db") == Address(file=Path("/srv/a b/faces.db"), index="FLAT")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://host", "scheme is 'http'"),
        ("host:19530", "scheme"),
        ("milvus://", "neither a host nor a file"),
        ("milvus:///", "neither a host nor a file"),
        ("milvus:///srv/faces", "ends in .db"),
        ("milvus+tls:///srv/faces.db", "neither a host nor a file"),
        (f"milvus://:{SECRET}@host", "password without a user"),
        (f"milvus://{SECRET}@host", "user without a password"),
        (f"milvus://me:{SECRET}/x@host:1", "port"),
        (f"milvus://me:{SECRET}#x@host", "port"),
        (f"milvus://me:{SECRET}", "port"),  # the host was forgotten
        (f"milvus://me:12/{SECRET}@host", "%2F"),
        (f"milvus://me:12?{SECRET}@host", "%2F"),
        (f"milvus://me:12?index={SECRET}@host", "%2F"),
        ("milvus://me:12#x@host", "%23"),
        ("milvus://host#x", "%23"),
        ("milvus://host:port", "port"),
        ("milvus://host:99999", "0 to 65535"),
        ("milvus://host/a/b", "database"),
        ("milvus://host?timeout=5", "'timeout' is not known"),
        ("milvus://host?index=IVF_PQ", "not one of AUTOINDEX, FLAT, HNSW, DISKANN"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_is_expected(url: str, match: str) -> None:
    with pytest.raises(ValueError, match=match) as refused:
        parse(url)
    assert EXPECTED in str(refused.value)
    assert SECRET not in str(refused.value)


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_user_and_password_arrive_when_they_are_quoted(user: str, password: str) -> None:
    try:
        url = f"milvus://{quote(user, safe='')}:{quote(password, safe='')}@host/db"
    except UnicodeEncodeError:  # a lone surrogate, which no environment holds
        return
    assert (parse(url).user, parse(url).password) == (user, password)


@given(st.text())
def test_anything_is_understood_or_refused(text: str) -> None:
    for url in (text, f"milvus://{text}", f"milvus://me:{text}@host", f"milvus:///{text}.db"):
        assert EXPECTED in refusal(url)


def refusal(url: str) -> str:
    """What is said against the URL; what is expected where nothing is."""
    try:
        parse(url)
    except ValueError as refused:
        return str(refused)
    return EXPECTED
