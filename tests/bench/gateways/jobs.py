"""What the load process is told to do, and what it says of it: JSON, one message a line."""

from __future__ import annotations

from msgspec import Struct, field


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests to one port of this machine.

    Attributes:
        connections: kept open. Without `rate`, each has one request after the other; with it,
            they are what a request that is due can take, and more are opened if none is free.
        requests: how many in all.
        seconds: the load ends then, however many there were.
        body: size of a request's body, in bytes.
        warm: requests on each connection before the measured ones.
        rate: requests begun in a second, whether or not the earlier ones are answered.
        chunks: of each streamed answer; 0 asks for JSON.
        pause_ms: between two chunks.
        exact: whether the gateway owes the very bytes of the JSON answer.
        hold: streams only. End when each stream has had its first chunk and `END` has come.
    """

    port: int
    connections: int = 1
    requests: int = 1
    seconds: float = 10.0
    body: int = 2000
    warm: int = 1
    rate: float | None = None
    chunks: int = 0
    pause_ms: int = 0
    exact: bool = True
    hold: bool = False


class Result(Struct, kw_only=True):
    """What became of a job. Times are in µs.

    Attributes:
        completed: requests that were answered rightly.
        errors: what went wrong, and how often.
        reconnects: connections that the gateway ended between two requests.
        seconds: from the first request to the last answer.
        latencies: from sending a request to the end of its answer.
        first: from sending a request to its first streamed chunk.
        lags: from the mock's sending a chunk to its arrival.
    """

    completed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    reconnects: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    @property
    def chunks(self) -> int:
        """Streamed chunks that came."""
        return len(self.lags)


READY = b"ready\n"
"""The load is connected and warm; it begins at `GO`."""
GO = b"go\n"
OPEN = b"open\n"
"""Every stream of a held job has had its first chunk."""
END = b"end\n"
