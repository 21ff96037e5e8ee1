"""Bytes -> BGR, under limits that are checked before anything is decoded."""

from __future__ import annotations

import io
import struct
from typing import Final

import cv2
import imagesize
import numpy as np
import pybase64

from engines.base import Image

ACCEPTED: Final = "JPEG, PNG, WebP or BMP"


class ImageError(Exception):
    """A picture that is not taken in. The message says what it is and what would be."""


class InvalidImageError(ImageError): ...


class UnsupportedImageError(ImageError): ...


class ImageTooLargeError(ImageError): ...


def decode_base64(text: str) -> bytes:
    """The bytes of `text`: standard base64, with or without a `data:` URI's prefix, white space at its ends allowed.

    Raises InvalidImageError when it is not base64.
    """
    text = text.strip()
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise InvalidImageError("a data: URI must read data:<type>;base64,<data>")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidImageError(
            f"the image is not base64 ({error}): send standard base64 without line breaks"
        ) from None


def decode(data: bytes, *, max_pixels: int) -> Image:
    """The picture in `data`: (H, W, 3) uint8 BGR, turned upright by its EXIF orientation; it belongs to the caller.

    Grey, palette and 16-bit pictures become 8-bit colour, transparency is dropped, of an animation the first frame is
    taken. The size is read from the header first. Raises UnsupportedImageError, ImageTooLargeError or
    InvalidImageError.
    """
    if not data:
        raise InvalidImageError(f"the image is empty: send the bytes of a {ACCEPTED} file")
    if not _is_accepted(data):
        raise UnsupportedImageError(f"the data is no {ACCEPTED} file")
    width, height = _size_in_header(data)
    if width * height > max_pixels:
        raise ImageTooLargeError(f"the image has {width} × {height} pixels; at most {max_pixels:,} are accepted")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise InvalidImageError(f"the image ({width} × {height} by its header) is broken or cut short")
    return image  # type: ignore[return-value]  # cv2 does not type the pixels; IMREAD_COLOR gives uint8


def _is_accepted(data: bytes) -> bool:
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")) or (
        data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    )


def _size_in_header(data: bytes) -> tuple[int, int]:
    try:
        width, height = imagesize.get(io.BytesIO(data))
    except (ValueError, OSError, IndexError, OverflowError, struct.error) as error:
        raise InvalidImageError("the image's header cannot be read") from error
    if width < 1 or height < 1:
        raise InvalidImageError(f"the image's header gives no size ({width} × {height})")
    return int(width), int(height)
