"""Boxes and crops on their way through the cascade, held against loops that follow the published code."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.cascade.boxes import moved, nms_by_group, nms_of_smaller, squared, windows
from engines.cascade.crops import cut
from engines.cascade.pyramid import layout
from engines.geometry.nms import nms

boxes_st = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40), st.integers(1, 999)),
    max_size=12,
    unique_by=lambda box: box[4],
)


def split(drawn: list[tuple[int, ...]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    table = np.array(drawn, np.float32).reshape(-1, 5)
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1), table[:, 4] / np.float32(1000)


@settings(max_examples=50)
@given(boxes_st)
def test_the_smaller_of_two_counts(drawn: list[tuple[int, ...]]) -> None:
    boxes, scores = split(drawn)
    kept: list[int] = []
    for i in np.argsort(-scores):
        for j in kept:
            sides = [min(boxes[i, a + 2], boxes[j, a + 2]) - max(boxes[i, a], boxes[j, a]) + 1 for a in (0, 1)]
            areas = [math.prod(boxes[k, a + 2] - boxes[k, a] + 1 for a in (0, 1)) for k in (i, j)]
            if math.prod(max(0, side) for side in sides) > 0.7 * min(areas):
                break
        else:
            kept.append(int(i))
    assert nms_of_smaller(boxes, scores, 0.7).tolist() == kept


@settings(max_examples=50)
@given(boxes_st, st.integers(0, 2**12 - 1))
def test_groups_know_nothing_of_each_other(drawn: list[tuple[int, ...]], bits: int) -> None:
    boxes, scores = split(drawn)
    group = np.array([bits >> i & 1 for i in range(len(boxes))], np.intp)
    alone = [np.flatnonzero(group == g)[nms(boxes[group == g], scores[group == g], 0.5)] for g in (0, 1)]
    expected = sorted(np.concatenate(alone).tolist(), key=lambda i: -scores[i])
    assert nms_by_group(boxes, scores, group, 0.5).tolist() == expected


def test_windows_lie_on_the_picture_as_the_authors_count() -> None:
    found = layout((300, 400), (300, 400))
    number = 2
    level = found.levels[number]
    corners = np.array([[level.left, level.top], [level.left + 30, level.top + 14]], np.float32)
    boxes = windows(corners, np.full(2, number), found)
    expected = [
        [math.floor((n + k) / level.scale) for n, k in ((x, 1), (y, 1), (x, 12), (y, 12))]
        for x, y in ((0, 0), (30, 14))
    ]
    assert boxes.tolist() == expected


def test_moving_and_squaring() -> None:
    box = np.array([[10, 20, 29, 59]], np.float32)
    offsets = np.array([[0.1, -0.2, 0, 0.05]], np.float32)
    assert moved(box, offsets)[0] == pytest.approx([12, 12, 29, 61])
    assert moved(box, offsets, ends=0)[0] == pytest.approx([11.9, 12.2, 29, 60.95])
    assert squared(box)[0] == pytest.approx([0, 20, 39, 59])


def test_crops_are_what_of_the_boxes_lies_on_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    boxes = np.array([[-5.5, -3, 24.9, 24], [60, 2, 70, 9], [30, 30, 99, 99], [8, 8, 7, 20]], np.float32)
    crops, visible = cut(picture, boxes, 24)
    assert visible.tolist() == [True, False, True, False]
    assert (crops[0] == picture[:24, :24]).all()
    assert (crops[1] == cv2.resize(picture[29:, 29:], (24, 24), interpolation=cv2.INTER_AREA)).all()
    nothing, none = cut(picture, boxes[:0], 48)
    assert (nothing.shape, none.shape) == ((0, 48, 48, 3), (0,))
