"""The load: a process that does one job after the other, as it reads them.

    python -m tests.bench.gateways.load

It reads a `Job`, connects and warms up, says `ready` and waits for `go`, so that accounts can be
read between; then it loads and says its `Result`. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import uvloop

from nexus_proxy.tasks import spawn
from tests.bench.gateways import jobs, payloads
from tests.bench.gateways.client import CLOSED_EARLY, Connection
from tests.bench.gateways.jobs import Job, Result

MOST_CONNECTIONS = 2048
"""Requests at a time for a job with a rate; beyond it the gateway has failed."""
PATIENCE = 10.0
"""Seconds for the answers that are missing when the time of a job is over."""


class Load:
    """One `job` on the way. `all_open` is set when each request has had its first chunk."""

    def __init__(self, job: Job) -> None:
        self.result = Result()
        self.all_open = asyncio.Event()
        self.job = job
        self._loop = asyncio.get_running_loop()
        self._request = payloads.request(
            job.port, job.body, chunks=job.chunks, pause_ms=job.pause_ms
        )
        self._idle: list[Connection] = []
        self._unsent = 0
        self._asking = 0
        self._end = 0.0

    async def prepare(self) -> None:
        """Connect, and ask as often as `warm` says on each connection."""
        self._begin(self.job.warm * self.job.connections)
        with suppress(OSError):  # what cannot connect here fails there, and counts
            for _ in range(self.job.connections):
                self._idle.append(await self._connect())
        await self._in_turns()
        self.result = Result(errors=self.result.errors)
        for connection in self._idle:
            connection.result = self.result

    async def measure(self) -> None:
        """Do what the job says."""
        self._begin(self.job.requests)
        began = time.monotonic()
        await (self._in_turns() if self.job.rate is None else self._at(self.job.rate))
        self.result.seconds = time.monotonic() - began

    def close(self) -> None:
        """Close the idle connections; those in use close when their request is cancelled."""
        for connection in self._idle:
            connection.abort()

    def _begin(self, requests: int) -> None:
        self._unsent = requests
        self._end = self._loop.time() + self.job.seconds

    async def _in_turns(self) -> None:
        """On each connection one request after the other."""
        # Streams do not begin all at once, or their chunks would come in bursts ever after.
        step = self.job.pause_ms / 1000 / self.job.connections
        async with self._bounded() as group:
            for number in range(self.job.connections):
                group.create_task(self._in_turn(number * step))

    async def _in_turn(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while self._unsent and self._loop.time() < self._end:
            await self._ask()

    async def _at(self, rate: float) -> None:
        """Begin requests at their times, whether or not the earlier ones are answered."""
        began = self._loop.time()
        async with self._bounded() as group:
            for number in range(self._unsent):
                due = began + number / rate
                if due > self._end:
                    break
                await asyncio.sleep(due - self._loop.time())
                if self._asking == MOST_CONNECTIONS:
                    self._failed("too many requests without an answer")
                else:
                    group.create_task(self._ask())

    async def _ask(self) -> None:
        """One request, on a connection of its own for its time."""
        self._unsent -= 1
        self._asking += 1
        try:
            connection = await self._free()
            error = await connection.ask(self._request)
            if error == CLOSED_EARLY and connection.used > 1:
                # It was closed while the request was on its way: clients ask again.
                self.result.reconnects += 1
                connection = await self._connect()
                error = await connection.ask(self._request)
        except asyncio.CancelledError:
            self._failed("no answer in time")
            raise
        except OSError as refused:
            error = f"no connection: {refused.strerror or refused}"
        finally:
            self._asking -= 1
        if error is None:
            self.result.completed += 1
            self._idle.append(connection)
        else:
            self._failed(error)

    async def _free(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
            self.result.reconnects += 1
        return await self._connect()

    async def _connect(self) -> Connection:
        _, connection = await self._loop.create_connection(
            lambda: Connection(self.job, self.result, self._opened), "127.0.0.1", self.job.port
        )
        return connection

    def _opened(self) -> None:
        if len(self.result.first) == self.job.requests:
            self.all_open.set()

    def _failed(self, why: str) -> None:
        self.result.errors[why] = self.result.errors.get(why, 0) + 1

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[asyncio.TaskGroup]:
        """A group whose tasks may take until the job's end, and some time for late answers."""
        with suppress(TimeoutError):  # each request that is cancelled counts as failed
            async with asyncio.timeout_at(self._end + PATIENCE), asyncio.TaskGroup() as group:
                yield group


async def work() -> None:
    """Do jobs as they come."""
    while line := await _heard():
        load = Load(msgspec.json.decode(line, type=Job))
        try:
            await _do(load, hold=load.job.hold)
        finally:
            load.close()


async def _do(load: Load, *, hold: bool) -> None:
    await load.prepare()
    _say(jobs.READY)
    await _heard()
    if not hold:
        await load.measure()
        _say(msgspec.json.encode(load.result) + b"\n")
        return
    streaming = spawn(load.measure(), name="streams")
    opening = spawn(load.all_open.wait(), name="opening")
    try:
        await asyncio.wait({streaming, opening}, return_when=asyncio.FIRST_COMPLETED)
        _say(jobs.OPEN)
        await _heard()
        _say(msgspec.json.encode(load.result) + b"\n")
    finally:
        streaming.cancel()
        opening.cancel()
        await asyncio.wait({streaming})


async def _heard() -> bytes:
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
