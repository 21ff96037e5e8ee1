"""Slots against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gallery.local.index.slots import Slots


def column(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=60))
def test_any_order_of_adding_and_removing(steps: list[tuple[int, int]]) -> None:
    slots, known, used = Slots(), dict[int, tuple[int, int]](), 0
    for face, identity in steps:
        if face in known:
            assert slots.remove(face) == known.pop(face)[0]
        else:
            assert slots.add(column(face), column(identity)).tolist() == [used]
            known[face] = used, identity
            used += 1
        assert len(slots) == len(known)
        assert slots.dead == used - len(known)
    assert {face: slots.find(face) for face in range(13)} == {
        face: known[face][0] if face in known else None for face in range(13)
    }
    assert sorted(slots.faces().tolist()) == sorted(known)
    mine = {slot for slot, identity in known.values() if identity in (1, 3)}
    assert set(np.flatnonzero(slots.whose(column(1, 3))).tolist()) == mine
    assert set(np.flatnonzero(slots.alive()).tolist()) == {slot for slot, _ in known.values()}
    for face, (slot, identity) in known.items():
        assert [each.tolist() for each in slots.of(column(slot))] == [[face], [identity]]


def test_many_at_once_and_none() -> None:
    slots = Slots()
    assert slots.add(column(), column()).tolist() == []
    assert slots.add(np.arange(5000), np.arange(5000)).tolist() == list(range(5000))
    assert slots.add(column(4, 7000)[:0], column()).tolist() == []
    assert slots.find(4999) == 4999
    with pytest.raises(KeyError):
        slots.remove(5000)
