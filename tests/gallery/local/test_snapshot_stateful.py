"""Any order of calls against a dictionary, with snapshots written, opened and adopted in between."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from gallery.local import snapshots
from gallery.local.gallery import LocalGallery
from tests.gallery.local.test_stateful import HANDLES, GalleryMachine


class SnapshotMachine(GalleryMachine):
    keep_changes = 1000

    def opened(self) -> LocalGallery:
        return LocalGallery(self.folder, keep_changes=self.keep_changes)

    @rule(handle=HANDLES, adopt=st.booleans())
    def write_snapshot(self, handle: int, adopt: bool) -> None:
        gallery = self.handles[handle]
        assert snapshots.write(gallery._store, "people")
        if adopt:
            gallery._projections._adopt("people")

    @rule(handle=HANDLES)
    def adopt(self, handle: int) -> None:
        self.handles[handle]._projections._adopt("people")


class ShortLogMachine(SnapshotMachine):
    keep_changes = 6


SnapshotMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
ShortLogMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestSnapshots = SnapshotMachine.TestCase
TestShortLog = ShortLogMachine.TestCase
