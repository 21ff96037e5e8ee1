"""Brings a face to the upright, centred crop that an embedder was trained on."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Image

Points = NDArray[np.floating]

ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)
"""Where the eyes, the nose and the mouth corners (image left first) belong in a 112x112 crop, px (ArcFace, 2019)."""


def similarity_transform(src: Points, dst: Points) -> NDArray[np.float64]:
    """The rotation, uniform scale and shift, (2, 3), that bring the points `src` (n, 2) nearest to `dst` (n, 2).

    Least squares in closed form: with points as complex numbers, dst = a * src + b is linear in a and b. The same
    answer as Umeyama's (1991) without reflection. Raises ValueError for points that determine none: all in one place,
    not finite, or the mirror image of a line's.
    """
    if src.shape != dst.shape or src.ndim != 2 or src.shape[1] != 2:
        raise ValueError(f"two sets of points (n, 2) are needed, not {src.shape} and {dst.shape}")
    z, w = _complex(src), _complex(dst)
    if not (np.isfinite(z).all() and np.isfinite(w).all()):
        raise ValueError(f"points must be finite, not {src.tolist()} and {dst.tolist()}")
    z_mean, w_mean = z.mean(), w.mean()
    spread = float(np.vdot(z - z_mean, z - z_mean).real)
    a = complex(np.vdot(z - z_mean, w - w_mean)) / spread if spread > 0 else 0j
    if abs(a) < 1e-9:
        raise ValueError(f"no similarity brings {src.tolist()} to {dst.tolist()}: do the points all lie in one place?")
    b = w_mean - a * z_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(image: Image, landmarks: Points, height: int = 112, width: int = 112) -> Image:
    """The face whose five `landmarks` (5, 2) are given in px of `image`, warped to the ArcFace template.

    Returns (height, width, 3): the template of 112x112, scaled to the height and centred in the width (so 112x96
    shifts x by -8). Parts outside the image are black. Raises ValueError for landmarks that determine no transform.
    """
    scale = height / 112
    template = ARCFACE_112 * scale
    template[:, 0] += (width - 112 * scale) / 2
    matrix = similarity_transform(landmarks, template)
    image, matrix = _shrink(image, matrix, height, width)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def _shrink(image: Image, matrix: NDArray[np.float64], height: int, width: int) -> tuple[Image, NDArray[np.float64]]:
    """The part of `image` that the crop shows, averaged in blocks of n x n px, and the matrix from there to the crop.

    A bilinear warp reads four px of the image for each px of the crop: shrinking more than twofold it skips the rest
    and keeps the noise that averaging would take away (docs/adr/0001).
    """
    n = int(1 / math.hypot(matrix[0, 0], matrix[1, 0]))
    if n < 2:
        return image, matrix
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    shown = corners @ cv2.invertAffineTransform(matrix).T
    left, top = np.maximum(np.floor(shown.min(axis=0)).astype(int) - n, 0)
    right, bottom = np.minimum(np.ceil(shown.max(axis=0)).astype(int) + n, (image.shape[1], image.shape[0]))
    columns, rows = (right - left) // n, (bottom - top) // n
    if columns < 1 or rows < 1:
        return image, matrix
    part = image[top : top + rows * n, left : left + columns * n]
    blocks = np.asarray(cv2.resize(part, (int(columns), int(rows)), interpolation=cv2.INTER_AREA), np.uint8)
    # A block's centre: image px = n * (block + 1/2) - 1/2 + corner.
    from_blocks = np.array([[n, 0, left + (n - 1) / 2], [0, n, top + (n - 1) / 2], [0, 0, 1]])
    return blocks, matrix @ from_blocks


def _complex(points: Points) -> NDArray[np.complex128]:
    return np.ascontiguousarray(points, np.float64).view(np.complex128)[:, 0]
