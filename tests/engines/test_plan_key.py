"""What a plan is made for: profiles and keys read what they write, and a key's name tells it from all others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.plans import PlanKey, Profile

sizes = st.lists(st.integers(1, 4096), min_size=3, max_size=3).map(sorted).map(lambda three: Profile(*three))
keys = st.builds(
    PlanKey,
    graph_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    tensorrt=st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){2,3}", fullmatch=True),
    gpu=st.text(max_size=80),
    capability=st.from_regex(r"[0-9]{1,2}\.[0-9]", fullmatch=True),
    precision=st.sampled_from(["fp32", "fp16", "mixed"]),
    profile=sizes,
)


@given(profile=sizes)
def test_a_profile_reads_what_it_writes(profile: Profile) -> None:
    assert Profile.parse(str(profile)) == profile


@given(text=st.text() | st.from_regex(r"[0-9]{0,3}(:[0-9-]{0,3}){0,4}", fullmatch=True))
def test_a_profile_is_three_numbers_that_do_not_fall(text: str) -> None:
    try:
        profile = Profile.parse(text)
    except ValueError as error:
        assert "1:8:32" in str(error)  # noqa: PT017  (either is an answer)
    else:
        assert [profile.least, profile.best, profile.most] == [int(part) for part in text.split(":")]
        assert 1 <= profile.least <= profile.best <= profile.most


@pytest.mark.parametrize(
    "text", ["", "8", "1:8", "1:8:32:64", "0:1:1", "2:1:4", "1:8:4", "-1:8:32", "1: 8:32", "١:٨:٣٢"]
)
def test_other_profiles_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1:8:32"):
        Profile.parse(text)


@given(key=keys)
def test_a_key_reads_what_it_writes(key: PlanKey) -> None:
    assert PlanKey.from_dict(json.loads(json.dumps(key.as_dict()))) == key


@given(key=keys, other=keys)
def test_names_are_plain_and_as_different_as_their_keys(key: PlanKey, other: PlanKey) -> None:
    for name in (key.name, key.machine.timing_cache_name):
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        assert len(name) < 150
    assert (key.name == other.name) == (key == other)
    assert (key.machine.timing_cache_name == other.machine.timing_cache_name) == (key.machine == other.machine)
