"""Keys in base64 or hexadecimal, and what is none."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.local.encryption.keys import KEY_BYTES, fresh, parsed

KEY = bytes(range(32))


@pytest.mark.parametrize(
    "text",
    [
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
    ],
)
def test_a_key_however_it_is_written(text: str) -> None:
    assert parsed(text) == KEY


def test_base64_for_urls_is_base64() -> None:
    key = bytes(range(0xE0, 0x100))
    assert parsed(base64.urlsafe_b64encode(key).decode()) == parsed(base64.b64encode(key).decode()) == key


def test_a_fresh_key_is_one_and_never_the_same() -> None:
    first, second = fresh(), fresh()
    assert len(parsed(first)) == KEY_BYTES
    assert first != second


@pytest.mark.parametrize(
    "text", ["", "secret", "correct horse battery staple", "00" * 16, "zz" * 32, "AAECAwQFBgcICQoLDA0ODw==", "é" * 44]
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="faceserve gallery key") as refusal:
        parsed(text)
    assert not text or text not in str(refusal.value)


@pytest.mark.parametrize("text", ["00" * 32, "ff" * 32, "0123456789abcdef" * 4, base64.b64encode(b"x" * 32).decode()])
def test_a_placeholder_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="not random"):
        parsed(text)


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with suppress(ValueError):  # and nothing else
        assert len(parsed(text)) == KEY_BYTES
