"""Idle connections go by themselves, used again or not."""

from __future__ import annotations

import asyncio

from nexus_proxy.relay.connections import idle
from nexus_proxy.relay.connections.idle import Idle
from nexus_proxy.relay.connections.upstream import Pools
from tests.contract.upstream.asking import SECONDS


class Kept:
    def __init__(self) -> None:
        self.closed = False
        self.idle_since = 0.0
        self.gone = asyncio.Event()

    def abort(self) -> None:
        self.closed = True
        self.gone.set()


async def test_an_idle_connection_is_closed_though_nobody_comes_again() -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except OSError:
            pass  # reset: it left all the same
        finally:
            writer.transport.abort()
            left.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        pool = Pools({}).of("box", url, idle_seconds=0.05, is_cloud=False)
        pool.put_back(await pool.connect(SECONDS))
        async with asyncio.timeout(SECONDS):
            await left.wait()
    assert pool.take_idle() is None


async def test_each_goes_in_its_time_by_one_timer() -> None:
    kept: Idle[Kept] = Idle(0.05)
    first, second = Kept(), Kept()
    kept.put(first)
    await first.gone.wait()
    kept.put(second)
    third = Kept()
    kept.put(third)
    assert not second.closed
    await second.gone.wait()
    await third.gone.wait()
    assert len(kept) == 0


async def test_the_newest_is_taken_first_and_a_closed_one_never() -> None:
    kept: Idle[Kept] = Idle(SECONDS)
    old, new, closed = Kept(), Kept(), Kept()
    for one in (old, new, closed):
        kept.put(one)
    closed.closed = True
    assert kept.take() is new
    kept.close()
    assert old.closed
    assert not new.closed
    assert kept.take() is None


async def test_more_than_enough_are_not_kept() -> None:
    kept: Idle[Kept] = Idle(SECONDS)
    all_of_them = [Kept() for _ in range(idle.MAX_IDLE + 1)]
    for one in all_of_them:
        kept.put(one)
    assert [one.closed for one in all_of_them] == [False] * idle.MAX_IDLE + [True]
    kept.close()
