"""What is sealed opens as it was, for whom it was sealed, or not at all."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gallery.local.encryption.vault import SEAL_BYTES, Kind, Vault, cipher
from gallery.types import KeyRefusedError, StorageError

KEY = bytes(range(32))
ALICE, BOB = b"A" * 16, b"B" * 16
VAULT = Vault(Path("gallery.db"), 1, cipher(KEY))
kinds = st.sampled_from(["embedding", "crop"])


def opened(kind: Kind, face_id: bytes, blob: bytes, vault: Vault = VAULT) -> bytes:
    return vault.opened(kind, [face_id], [blob])[0]


@given(kinds, st.binary(min_size=16, max_size=16), st.binary(max_size=3000))
def test_what_is_sealed_opens_as_it_was(kind: Kind, face_id: bytes, text: bytes) -> None:
    blob = VAULT.sealed(kind, face_id, text)
    assert len(blob) == len(text) + SEAL_BYTES
    assert opened(kind, face_id, blob) == text


def test_the_layout_is_nonce_ciphertext_tag() -> None:
    """By the library alone, so that what is stored stays readable whatever becomes of this code."""
    blob = VAULT.sealed("embedding", ALICE, b"text")
    assert AESGCM(KEY).decrypt(blob[:12], blob[12:], b"embedding" + ALICE) == b"text"


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_bit_is_found(text: bytes, data: st.DataObject) -> None:
    blob = bytearray(VAULT.sealed("embedding", ALICE, text))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StorageError, match=f"damaged.*embedding of face {ALICE.hex()} does not decrypt"):
        opened("embedding", ALICE, bytes(blob))


@given(st.binary(max_size=60))
def test_what_was_never_sealed_does_not_open(blob: bytes) -> None:
    with pytest.raises(StorageError, match="damaged"):
        opened("crop", ALICE, blob)


def test_a_blob_of_another_face_kind_or_key_does_not_open() -> None:
    blob = VAULT.sealed("embedding", ALICE, b"text")
    assert opened("embedding", ALICE, blob) == b"text"
    with pytest.raises(StorageError, match=BOB.hex()):
        opened("embedding", BOB, blob)
    with pytest.raises(StorageError, match="crop"):
        opened("crop", ALICE, blob)
    with pytest.raises(StorageError, match="damaged"):
        opened("embedding", ALICE, blob, Vault(Path("gallery.db"), 1, cipher(KEY[::-1])))


def test_of_many_the_one_that_does_not_open_is_named() -> None:
    ids = [bytes([number]) * 16 for number in range(9)]
    blobs = [VAULT.sealed("embedding", id_, id_) for id_ in ids]
    assert VAULT.opened("embedding", ids, blobs) == ids
    blobs[5], blobs[6] = blobs[6], blobs[5]
    with pytest.raises(StorageError, match=ids[5].hex()):
        VAULT.opened("embedding", ids, blobs)


def test_nothing_is_sealed_alike_twice() -> None:
    assert len({VAULT.sealed("embedding", ALICE, b"text")[:12] for _ in range(2000)}) == 2000


def test_without_a_key_everything_goes_through_untouched() -> None:
    plain, blobs = Vault(Path("gallery.db")), [b"a", b"b"]
    assert not plain.seals
    assert plain.sealed("crop", ALICE, b"text") == b"text"
    assert plain.opened("crop", [ALICE, BOB], blobs) is blobs


def test_any_thread_may_use_it() -> None:
    def work(number: int) -> bool:
        face_id, text = bytes([number]) * 16, bytes([number]) * 1000
        return all(opened("crop", face_id, VAULT.sealed("crop", face_id, text)) == text for _ in range(300))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_the_key_is_not_shown() -> None:
    assert "aead" not in repr(VAULT)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(KeyRefusedError, match=r"faceserve\[encryption\]"):
        cipher(KEY)


@pytest.mark.parametrize("lock", ["base", "gpu"])
def test_the_images_have_the_package(lock: str) -> None:
    """Nobody can install it there: they have no pip."""
    text = (Path(__file__).resolve().parents[4] / "requirements" / f"{lock}.lock").read_text("utf-8")
    assert "\ncryptography==" in text
