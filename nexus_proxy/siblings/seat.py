"""Which of the workers of one gateway this process is."""

from __future__ import annotations

from msgspec import Struct

LEAD = 0
"""The worker that discovers, writes the configuration file and runs the verbs; others mirror it."""


class Seat(Struct, frozen=True, kw_only=True):
    """One worker's place. `node_id` is the whole gateway's, so that a request that comes back by
    another worker is a loop too. `folder` holds the sockets on which workers ask each other, the
    file open at `board` their counts of connections, the one at `cells` the limits of API keys."""

    node_id: str
    number: int = LEAD
    count: int = 1
    folder: str = ""
    board: int = -1
    cells: int = -1

    @property
    def is_lead(self) -> bool:
        """Whether this is the worker that the others mirror; true of one that is alone."""
        return self.number == LEAD

    @property
    def tag(self) -> int | None:
        """The number to show beside lines and requests; None where there is but one worker."""
        return self.number if self.count > 1 else None

    @property
    def others(self) -> tuple[int, ...]:
        """The numbers of the other workers."""
        return tuple(number for number in range(self.count) if number != self.number)

    def path(self, number: int) -> str:
        """The private socket of a worker."""
        return f"{self.folder}/{number}"

    def share(self, limit: int | None) -> int | None:
        """This worker's part of a limit that all keep together; at least one, or a client that
        happens on a worker with none would be refused while slots are free."""
        if limit is None:
            return None
        return max(1, limit // self.count + (self.number < limit % self.count))
