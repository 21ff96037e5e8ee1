"""Named keys: how they are given, and that no refusal shows one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.cli.failures import explain
from app.keys import Keys, parse_keys
from app.settings import Settings


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("door:k1", {"door": "k1"}),
        ("door:k1, gate:k:2", {"door": "k1", "gate": "k:2"}),
        ('{"door": "k1", "gate": "k,2"}', {"door": "k1", "gate": "k,2"}),
    ],
)
def test_both_ways_to_write_them(text: str, keys: dict[str, str]) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3cret", "name 1 is not"),
        ("a b:s3cret", "name 1 is not"),
        ("door:s3cret,", "name 2 is not"),
        ("door:s3cret,door:s3cret2", "the name door is given twice"),
        ('{"door": "s3cret", "door": "s3cret2"}', "the name door is given twice"),
        ('{"door": "s3cret"', "no JSON"),
        ('{"door": ["s3cret"]}', "door has no key"),
        ('{"door": 17}', "door has no key"),
        ("door:", "door has no key"),
        ("", "name 1 is not"),
        ("{}", "would let anyone in"),
        ('{"door": " s3cret "}', "door has no key"),
        ("door:s3cret,gate:s3cret", "same key"),
        ('{"door": "s3cret\\ud800"}', "door's key"),
        ("door:s3cret\udcff", "door's key"),
        ("door:s3\ncret", "door's key"),
        ("anonymous:s3cret", "anonymous is"),
    ],
)
def test_what_is_none_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.setenv("FACESERVE_API_KEYS", text)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    (line,) = explain(refusal.value)
    assert said in line
    assert "s3cret" not in line


def test_the_old_key_is_called_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_API_KEY", "k0")
    monkeypatch.setenv("FACESERVE_API_KEYS", "door:k1")
    assert Settings().named_keys == {"default": "k0", "door": "k1"}
    assert "k1" not in repr(Settings()) + Settings().model_dump_json()
    monkeypatch.setenv("FACESERVE_API_KEYS", "default:k1")
    with pytest.raises(ValidationError, match="take that name out of FACESERVE_API_KEYS"):
        Settings()


def test_a_named_key_guards_an_open_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_API_KEYS", "door:k1")
    assert Settings(host="0.0.0.0").host == "0.0.0.0"
    monkeypatch.delenv("FACESERVE_API_KEYS")
    with pytest.raises(ValidationError, match=r"lets anyone in: set FACESERVE_API_KEY or FACESERVE_API_KEYS"):
        Settings(host="0.0.0.0")


def test_whose_a_key_is() -> None:
    keys = Keys({"door": "k1", "gate": "clé"})
    assert keys
    assert not Keys({})
    assert keys.name_of(b"k1") == "door"
    assert keys.name_of("clé".encode()) == "gate"
    assert [keys.name_of(given) for given in (b"", b"k", b"k11", b"K1")] == [None] * 4
