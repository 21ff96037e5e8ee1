"""Opening galleries: in a folder, or in a Milvus."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from app.audit.opening import audited
from app.settings import Settings
from gallery.gallery import Gallery
from gallery.local.encryption.keys import parsed
from gallery.local.gallery import LocalGallery
from gallery.milvus.address import is_url
from gallery.milvus.address import parse as parse_address
from gallery.types import NotOfferedError, StorageError


def open_gallery(settings: Settings) -> Gallery:
    """The gallery that the settings name, or else the one in the data folder, made if need be, its deeds recorded as
    the settings say; the caller closes it."""
    return audited(gallery_at(settings.gallery_place, settings), settings)


def gallery_at(place: str, settings: Settings) -> Gallery:
    """The gallery in the data folder `place`, made if need be, or at that URL, opened as the settings say; the caller
    closes it."""
    if is_url(place):
        return _gallery_in_milvus(place, settings)
    return LocalGallery(
        Path(place) / "gallery",
        idempotency_ttl_s=3600 * settings.idempotency_ttl_h,
        searches_at_once=settings.concurrency,
        index=settings.index,
        key=key_bytes(settings.gallery_key),
        old_key=key_bytes(settings.gallery_old_key),
    )


def _gallery_in_milvus(url: str, settings: Settings) -> Gallery:
    from gallery.milvus.gallery import MilvusGallery

    if settings.gallery_key is not None:
        raise NotOfferedError(
            "a gallery in Milvus is encrypted by Milvus, or not at all: unset FACESERVE_GALLERY_KEY, or say which side "
            "of a migration it is not for (--plain)"
        )
    try:
        address = parse_address(url)
    except ValueError as error:
        raise StorageError(str(error)) from None
    return MilvusGallery(address, idempotency_ttl_s=3600 * settings.idempotency_ttl_h)


def key_bytes(key: SecretStr | None) -> bytes | None:
    """A gallery's key, as the gallery takes it."""
    return None if key is None else parsed(key.get_secret_value())
