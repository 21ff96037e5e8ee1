"""The engine process's end of a channel: runs what the workers ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from engines.base import Engine
from engines.shared.channel import LANES, Channel
from engines.shared.lane import Lane
from engines.shared.layout import Layout
from engines.shared.messages import offer, pack_notice


class EngineServer:
    """Runs `engines` for the workers seated at `channel`, each engine by `concurrency` threads.

    A free thread takes what waits, from whichever worker, up to `max_batch_size` rows: nothing waits for a batch to
    fill. Calls of a failed batch are run again one by one, so that a bad one fails alone; a call whose caller left is
    skipped. `on_batch(engine, rows)` is called after each successful run, on the thread that ran it.

    The engines stay the caller's, to be closed after the server.
    """

    def __init__(
        self,
        channel: Channel,
        engines: Mapping[str, Engine],
        *,
        about: Mapping[str, str] = MappingProxyType({}),
        on_batch: Callable[[str, int], None] | None = None,
    ) -> None:
        """Serves from now on. `about` is for the workers to read.

        Raises ModelError for an engine whose rows have no fixed size or do not fit a slot.
        """
        if len(engines) > LANES:
            raise ValueError(f"a channel has {LANES} lanes, and {len(engines)} engines were given")
        layouts = {
            name: Layout(engine.inputs, engine.outputs, most=engine.max_batch_size, slot_bytes=channel.slot_bytes)
            for name, engine in engines.items()
        }
        self._channel, self._engines = channel, dict(engines)
        channel.lose()  # whatever an earlier process had in hand
        taking = threading.Lock()
        self._lanes = []
        for number, (name, engine) in enumerate(engines.items()):
            observe = None if on_batch is None else partial(on_batch, name)
            self._lanes.append(Lane(channel, number, name, engine, layouts[name], taking, observe))
        offers = {
            name: offer(engine, lane=number, rows=layouts[name].rows)
            for number, (name, engine) in enumerate(engines.items())
        }
        channel.open(pack_notice(about, offers))

    @property
    def fault(self) -> str | None:
        """Why an engine cannot be used any more, and the process is to be replaced; None while all can."""
        return next((engine.fault for engine in self._engines.values() if engine.fault), None)

    @property
    def longest_run_s(self) -> float:
        """For how long the oldest of the runs under way has lasted; 0 when there is none."""
        return max((lane.longest_run_s for lane in self._lanes), default=0.0)

    def close(self) -> None:
        """Answers what was asked until now; what comes later gets a DeviceLostError. Once only."""
        for lane in self._lanes:
            lane.close()
        self._channel.lose()
