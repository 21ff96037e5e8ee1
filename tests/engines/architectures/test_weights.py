"""Weights by chance and from a state dict."""

from __future__ import annotations

import numpy as np
import pytest

from engines.architectures import given_weights, random_weights
from engines.base import ModelError


def test_a_random_parameter_depends_on_seed_and_name_alone() -> None:
    first, again, other = random_weights(3), random_weights(3), random_weights(4)
    again("fc.bias", (5,))
    expected = first("conv.weight", (8, 4, 3, 3))
    np.testing.assert_array_equal(again("conv.weight", (8, 4, 3, 3)), expected)
    assert (other("conv.weight", (8, 4, 3, 3)) != expected).all()
    assert (first("conv2.weight", (8, 4, 3, 3)) != expected).all()
    assert expected.dtype == np.float32


def test_random_kernels_are_he_s_and_the_first_one_takes_pixels() -> None:
    weights = random_weights(0, reach=128)
    assert weights("conv.weight", (256, 64, 3, 3)).std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert weights("conv1.weight", (256, 3, 7, 7)).std() == pytest.approx((2 / (3 * 49)) ** 0.5 / 128, rel=0.02)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("layer1.0.bn1.weight", 0.8, 1.2),
        ("layer1.0.bn1.running_var", 0.8, 1.2),
        ("layer1.0.bn3.weight", 0.2, 0.3),
        ("layers.2.layers.2.layers.1.weight", 0.2, 0.3),
        ("layers.0.layers.1.weight", 0.8, 1.2),
        ("layer1.0.prelu.weight", 0.1, 0.4),
        ("conv_sep.layers.2.weight", 0.1, 0.4),
        ("fc.bias", -0.6, 0.6),
    ],
)
def test_random_vectors_stay_in_range(name: str, low: float, high: float) -> None:
    values = random_weights(0)(name, (512,))
    assert values.dtype == np.float32
    assert low <= np.min(values) < np.max(values) <= high


def test_a_state_dict_must_have_what_is_asked_for() -> None:
    weights = given_weights({"fc.weight": np.ones((2, 3), np.float64), "logits.weight": np.ones(9)})
    found = weights("fc.weight", (2, 3))
    assert found.dtype == np.float32
    assert found.shape == (2, 3)
    with pytest.raises(ModelError, match=r"no 'fc.bias' \(2,\)"):
        weights("fc.bias", (2,))
    with pytest.raises(ModelError, match=r"shape \(2, 3\), the architecture expects \(3, 2\)"):
        weights("fc.weight", (3, 2))
