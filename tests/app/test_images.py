"""Pictures of every accepted kind become the same upright BGR; everything else is refused before it costs anything."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.images import (
    ImageError,
    ImageTooLargeError,
    InvalidImageError,
    UnsupportedImageError,
    decode,
    decode_base64,
)
from engines.base import Image

LIMIT = 40_000_000


def picture(height: int = 24, width: int = 40) -> Image:
    """Blue grows to the right, green downwards, red is the brighter top-left quarter: no two turns look alike."""
    rows, columns = np.mgrid[:height, :width]
    red = np.where((rows < height // 2) & (columns < width // 2), 220, 20)
    return np.stack([columns * 255 // width, rows * 255 // height, red], axis=-1).astype(np.uint8)


def encoded(image: Image, extension: str) -> bytes:
    return cv2.imencode(extension, image)[1].tobytes()


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """`jpeg` with an EXIF segment of one entry, the orientation (EXIF 2.3, tag 0x0112)."""
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHH", 1, 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    payload = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


@pytest.mark.parametrize("extension", [".png", ".bmp"])
def test_lossless_formats_keep_blue_first(extension: str) -> None:
    np.testing.assert_array_equal(decode(encoded(picture(), extension), max_pixels=LIMIT), picture())


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_lossy_formats_keep_blue_first(extension: str) -> None:
    image = cv2.resize(picture(), (400, 240), interpolation=cv2.INTER_LINEAR)
    error = np.abs(decode(encoded(image.astype(np.uint8), extension), max_pixels=LIMIT).astype(int) - image)
    assert error.mean() < 4


@pytest.mark.parametrize(
    ("stored", "seen"),
    [
        (picture()[..., 0], np.repeat(picture()[..., :1], 3, axis=2)),  # grey
        (np.dstack([picture(), np.full((24, 40), 7, np.uint8)]), picture()),  # transparent
        (picture().astype(np.uint16) * 257, picture()),  # 16 bits a channel
        (picture()[..., 0].astype(np.uint16) * 257, np.repeat(picture()[..., :1], 3, axis=2)),
    ],
    ids=["grey", "alpha", "16-bit", "16-bit grey"],
)
def test_png_of_any_depth_becomes_8_bit_colour(stored: Image, seen: Image) -> None:
    image = decode(encoded(stored, ".png"), max_pixels=LIMIT)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - seen).max() <= 1


def test_palette_png_becomes_colour() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    pixels = zlib.compress(bytes([0, 1, 0]))  # one row: filter 0, then palette entries 1 and 0
    palette = bytes([255, 0, 0, 0, 0, 255])  # red, blue
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"PLTE", palette)
    data += chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    assert decode(data, max_pixels=LIMIT).tolist() == [[[255, 0, 0], [0, 0, 255]]]


# How each orientation's stored pixels are turned to stand upright, EXIF 2.3 table 6.
UPRIGHT: dict[int, Callable[[Image], Image]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(orientation: int) -> None:
    jpeg = encoded(cv2.resize(picture(), (80, 48)).astype(np.uint8), ".jpg")
    stored = decode(jpeg, max_pixels=LIMIT)
    turned = decode(with_exif(jpeg, orientation), max_pixels=LIMIT)
    np.testing.assert_array_equal(turned, UPRIGHT[orientation](stored))


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_file_cut_short_is_refused(samples: Path, extension: str, share: float) -> None:
    photo = decode((samples / "astronaut.jpg").read_bytes(), max_pixels=LIMIT)
    data = encoded(photo[:256, :256], extension)
    with pytest.raises(InvalidImageError, match="broken or cut short"):
        decode(data[: int(len(data) * share)], max_pixels=LIMIT)


def test_size_is_read_before_decoding() -> None:
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 30_000, 30_000, 8, 2, 0, 0, 0)
    with pytest.raises(ImageTooLargeError, match="30000 × 30000"):
        decode(header, max_pixels=LIMIT)


def test_the_limit_itself_is_accepted() -> None:
    data = encoded(picture(20, 30), ".png")
    assert decode(data, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(ImageTooLargeError):
        decode(data, max_pixels=599)


@pytest.mark.parametrize("data", [b"hello" * 100, b"GIF89a" + bytes(100), b"%PDF-1.7", b"\0" * 64])
def test_other_formats_are_named_as_such(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="JPEG, PNG, WebP or BMP"):
        decode(data, max_pixels=LIMIT)


def test_empty_and_zero_sized_are_refused() -> None:
    with pytest.raises(InvalidImageError, match="empty"):
        decode(b"", max_pixels=LIMIT)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 0, 0, 8, 2, 0, 0, 0)
    with pytest.raises(InvalidImageError, match="no size"):
        decode(header, max_pixels=LIMIT)


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\x10\0\0\0WEBP"]),
    st.binary(max_size=200),
)
def test_noise_behind_a_magic_number_is_an_image_error_or_an_image(magic: bytes, noise: bytes) -> None:
    try:
        image = decode(magic + noise, max_pixels=10_000)
    except ImageError:
        return
    assert image.ndim == 3


@given(st.binary())
def test_base64_round_trip(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert decode_base64(text) == data
    assert decode_base64(f" data:image/png;base64,{text}\n") == data


@pytest.mark.parametrize(
    "text", ["not base64!", "aGVsbG8", "data:image/png,abc", "data:image/png;base64", "aGV\nsbG8="]
)
def test_bad_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidImageError):
        decode_base64(text)
