"""Connections to backends: pooled, reused by each kind's rules, released by structure.

The only outgoing connections of the hot path. A pooled connection that the backend closed in the
meantime costs one silent retry on a fresh one, as long as no byte of an answer came, and is never
counted as a fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from urllib.parse import urlsplit

from nexus_proxy.errors import (
    UpstreamCutError,
    UpstreamError,
    UpstreamGarbageError,
)
from nexus_proxy.relay.connections.connect import Connector, Dialer
from nexus_proxy.relay.connections.idle import Idle
from nexus_proxy.relay.connections.wire import Head, Sink, Wait, Wire, WireClosed, WireGarbled


class Pool:
    """Connections to one backend."""

    def __init__(
        self, backend: str, base_url: str, connector: Connector, *, idle_seconds: float
    ) -> None:
        parts = urlsplit(base_url)
        self.backend = backend
        self.prefix = parts.path.rstrip("/")
        self.authority = parts.netloc
        self._connector = connector
        self._idle: Idle[Wire] = Idle(idle_seconds)

    async def connect(self, seconds: float) -> Wire:
        """A new connection. Raises what `Connector.connect` raises."""
        loop = asyncio.get_running_loop()
        _, wire = await self._connector.connect(lambda: Wire(loop), seconds)
        return wire

    def take_idle(self) -> Wire | None:
        """A pooled connection that is young enough to be trusted."""
        return self._idle.take()

    def put_back(self, wire: Wire) -> None:
        """Keep a connection for the next exchange."""
        self._idle.put(wire)

    def close(self) -> None:
        """Close what is idle."""
        self._idle.close()


class Pools:
    """The pools of all backends, by base URL."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._dialer = Dialer(environ)
        self._pools: dict[tuple[str, str], Pool] = {}

    def of(self, backend: str, base_url: str, *, idle_seconds: float, is_cloud: bool) -> Pool:
        """The pool of a backend, made on first use."""
        pool = self._pools.get((backend, base_url))
        if pool is None:
            connector = self._dialer.connector(backend, base_url, is_cloud=is_cloud)
            pool = Pool(backend, base_url, connector, idle_seconds=idle_seconds)
            self._pools[backend, base_url] = pool
        return pool

    def forget(self, backend: str) -> None:
        """Close the idle connections of a backend that was removed."""
        for key in [key for key in self._pools if key[0] == backend]:
            self._pools.pop(key).close()

    def close(self) -> None:
        """Close everything that is idle."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()


class Exchange:
    """One request and its answer on one connection.

    Use as `async with`: leaving the block returns the connection to the pool if the answer was
    read to its end and `may_reuse` is still true, and closes it otherwise.
    """

    __slots__ = ("_connect_seconds", "_pool", "_request", "_wire", "may_reuse")

    def __init__(self, pool: Pool, request: Sequence[bytes], *, connect_seconds: float) -> None:
        self._pool = pool
        self._request = request
        self._connect_seconds = connect_seconds
        self._wire: Wire | None = None
        self.may_reuse = True

    async def __aenter__(self) -> Exchange:
        wire = self._pool.take_idle() or await self._pool.connect(self._connect_seconds)
        wire.send(self._request)
        self._wire = wire
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        wire = self._wire
        if wire is None:
            return
        if _error is None and self.may_reuse and wire.reusable:
            self._pool.put_back(wire)
        else:
            wire.abort()

    async def head(self) -> Head | None:
        """Status and headers, or None when `wake` was called before they came.

        Raises `UpstreamError`.
        """
        wire = self._current()
        try:
            while wire.head is None:
                await wire.wait()
                if wire.head is None:
                    if wire.closed:
                        raise WireClosed("closed without an answer")
                    return None
        except WireClosed:
            if wire.used < 2 or wire.got_bytes:
                raise self._cut("without an answer") from None
            self._wire = wire = await self._pool.connect(self._connect_seconds)
            wire.send(self._request)
            return await self.head()
        except WireGarbled as error:
            raise self._garbled(error) from None
        return wire.head

    async def body(self) -> bytes | None:
        """The next body bytes; `b""` at the end; None when `wake` was called meanwhile.

        Raises `UpstreamError`, and whatever `fail` was given.
        """
        wire = self._current()
        try:
            await wire.wait()
        except WireClosed:
            raise self._cut("in the middle of its answer") from None
        except WireGarbled as error:
            raise self._garbled(error) from None
        data = wire.take()
        if data:
            return data
        return b"" if wire.complete else None

    async def flow(self, sink: Sink) -> Wait | None:
        """Push body bytes to `sink`; see `Wire.flow`. Raises `UpstreamError`, and whatever `sink`
        raised or `fail` was given."""
        try:
            return await self._current().flow(sink)
        except WireClosed:
            raise self._cut("in the middle of its answer") from None
        except WireGarbled as error:
            raise self._garbled(error) from None

    @property
    def ended(self) -> bool:
        """Whether the answer is whole and all of its body was handed out."""
        wire = self._wire
        return wire is not None and wire.ended

    def wake(self) -> None:
        """Let a waiting `head` or `body` return None."""
        if self._wire is not None:
            self._wire.wake()

    def fail(self, error: UpstreamError) -> None:
        """Let a waiting `head` or `body` raise `error`, and close the connection."""
        if self._wire is not None:
            self._wire.fail(error)

    def _current(self) -> Wire:
        assert self._wire is not None, "an exchange is used inside its `async with`"
        return self._wire

    def _cut(self, when: str) -> UpstreamCutError:
        return UpstreamCutError(
            f"{self._pool.backend} closed the connection {when}", backend=self._pool.backend
        )

    def _garbled(self, error: WireGarbled) -> UpstreamGarbageError:
        return UpstreamGarbageError(
            f"{self._pool.backend} did not answer in HTTP: {error}", backend=self._pool.backend
        )
