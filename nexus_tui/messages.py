"""Messages that cross the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


class SnapshotReady(Message):
    """The gateway as it is now; sent by the bridge, at most four times a second."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot
