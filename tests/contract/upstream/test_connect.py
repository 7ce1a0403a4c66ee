"""Plain connections: every address gets its turn, and there are only so many."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from nexus_proxy.errors import ClockError, ConnectFailedError, OutOfConnectionsError
from nexus_proxy.relay.connections import addresses, connect
from nexus_proxy.relay.connections.connect import Connector, Dialer
from tests.contract.upstream.asking import Asking, free_port, left, opened, socket_of
from tests.contract.upstream.resolver import SILENCE, Answer, Resolver


def use_one(stack: ExitStack) -> bool:
    """Take a file descriptor until `stack` ends. False: there is none left."""
    try:
        stack.enter_context(socket.socket())
    except OSError:
        return False
    return True


def to(host: str, port: int) -> Connector:
    return Dialer({}).connector("box", f"http://{host}:{port}", is_cloud=False)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server on 127.0.0.1 only, which reads until its clients leave."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except OSError:
            pass  # reset by the client
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of 127.0.0.2 whose queue is full: it swallows what asks for a connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "one.test"])
async def test_what_is_small_is_sent_at_once(host: str, port: int, resolver: Resolver) -> None:
    resolver.answers["one.test"] = [[("127.0.0.1", port)]]
    asking = await opened(to(host, port))
    assert socket_of(asking).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await left(asking)


async def test_a_silent_connection_through_a_network_is_kept_alive(
    port: int, resolver: Resolver
) -> None:
    resolver.answers["one.test"] = [[("127.0.0.1", port)]]
    asking = await opened(to("one.test", port))
    sock = socket_of(asking)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if hasattr(socket, "TCP_KEEPIDLE"):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 45
    await left(asking)


async def test_an_address_that_refuses_leaves_the_turn_to_the_next(
    port: int, resolver: Resolver
) -> None:
    resolver.answers["two.test"] = [[("::1", port), ("127.0.0.1", port)]]
    asking = await opened(to("two.test", port))
    assert socket_of(asking).getpeername() == ("127.0.0.1", port)
    await left(asking)


async def test_an_address_that_swallows_packets_does_not_eat_the_clock(
    port: int, black_hole: int, resolver: Resolver
) -> None:
    resolver.answers["two.test"] = [[("127.0.0.2", black_hole), ("127.0.0.1", port)]]
    asking = await opened(to("two.test", port))
    assert socket_of(asking).getpeername() == ("127.0.0.1", port)
    await left(asking)


async def test_a_black_hole_alone_costs_the_connect_clock(black_hole: int) -> None:
    with pytest.raises(ClockError, match=r"box did not take a connection within 0\.1 s"):
        await to("127.0.0.2", black_hole).connect(Asking, 0.1)


async def test_refused_everywhere_says_so_once(resolver: Resolver) -> None:
    closed = free_port()
    resolver.answers["two.test"] = [[("127.0.0.2", closed), ("127.0.0.1", closed)]]
    says = rf"^box at http://two\.test:{closed} refused the connection: Connection refused$"
    with pytest.raises(ConnectFailedError, match=says):
        await opened(to("two.test", closed))


@pytest.mark.parametrize("host", ["gone.test", "a..b", "x" * 80])
async def test_a_name_that_means_nothing(host: str, resolver: Resolver) -> None:
    resolver.answers["gone.test"] = [socket.gaierror(socket.EAI_NONAME, "unknown")]
    with pytest.raises(ConnectFailedError, match="box could not be found"):
        await opened(to(host, 80))


async def test_a_name_is_looked_up_once_for_many(port: int, resolver: Resolver) -> None:
    resolver.answers["one.test"] = [[("127.0.0.1", port)]]
    connector = to("one.test", port)
    for asking in await asyncio.gather(*(opened(connector) for _ in range(5))):
        await left(asking)
    await left(await opened(connector))
    assert resolver.asked == ["one.test"]


async def test_a_name_is_looked_up_anew_when_nobody_answers_there(
    port: int, resolver: Resolver
) -> None:
    resolver.answers["one.test"] = [[("127.0.0.2", port)], [("127.0.0.1", port)]]
    connector = to("one.test", port)
    with pytest.raises(ConnectFailedError):
        await opened(connector)
    await left(await opened(connector))


@pytest.mark.parametrize("slow", [False, True])
async def test_a_resolver_that_fails_later_leaves_the_old_address(
    port: int, resolver: Resolver, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    monkeypatch.setattr(addresses, "FRESH_SECONDS", -1.0)
    later: Answer = SILENCE if slow else socket.gaierror(socket.EAI_AGAIN, "later")
    resolver.answers["one.test"] = [[("127.0.0.1", port)], later]
    connector = to("one.test", port)
    for _ in range(3):
        await left(await opened(connector))
    assert len(resolver.asked) == (2 if slow else 3)


async def test_one_who_gives_up_a_lookup_does_not_take_it_from_others(
    port: int, resolver: Resolver
) -> None:
    resolver.answers["slow.test"] = [[("127.0.0.1", port)]]
    resolver.gate.clear()
    connector = to("slow.test", port)
    with pytest.raises(ClockError):
        await connector.connect(Asking, 0.05)
    resolver.gate.set()
    await left(await opened(connector))
    assert resolver.asked == ["slow.test"]


@pytest.mark.parametrize("host", ["127.0.0.1", "one.test"])
async def test_there_are_only_so_many_connections(
    host: str, port: int, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver.answers["one.test"] = [[("127.0.0.1", port)]]
    monkeypatch.setattr(connect, "MAX_OPEN", 3)
    connector = to(host, port)
    first, *others = await asyncio.gather(*(opened(connector) for _ in range(3)))
    with pytest.raises(OutOfConnectionsError, match=r"box has 3 connections open .*max_concurrent"):
        await opened(connector)
    await left(first)
    others.append(await opened(connector))
    for asking in others:
        await left(asking)


@pytest.mark.parametrize("host", ["127.0.0.1", "one.test"])
async def test_what_is_closed_is_not_remembered(host: str, port: int, resolver: Resolver) -> None:
    resolver.answers["one.test"] = [[("127.0.0.1", port)]]
    connector = to(host, port)
    seen: list[weakref.ref[Asking]] = []
    for _ in range(3 * connect.COUNT_EVERY):
        asking = await opened(connector)
        seen.append(weakref.ref(asking))
        await left(asking)
    del asking
    gc.collect()
    assert sum(one() is not None for one in seen) <= connect.COUNT_EVERY


async def test_those_that_are_being_opened_count(
    black_hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "MAX_OPEN", 1)
    connector = to("127.0.0.2", black_hole)
    results = await asyncio.gather(
        *(connector.connect(Asking, 0.2) for _ in range(2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [ClockError, OutOfConnectionsError]


async def test_no_descriptor_left_is_not_held_against_the_backend(port: int) -> None:
    connector = to("127.0.0.1", port)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        while use_one(stack):
            pass
        with pytest.raises(OutOfConnectionsError, match=r"no file descriptor left .*ulimit -n"):
            await opened(connector)
    await left(await opened(connector))


def test_the_soft_limit_of_open_files_is_raised() -> None:
    """In a process of its own: a limit that was lowered may not be raised again."""
    code = (
        "import resource as r; from nexus_proxy.server.descriptors import raise_limit;"
        "hard = min(r.getrlimit(r.RLIMIT_NOFILE)[1], 2000);"
        "r.setrlimit(r.RLIMIT_NOFILE, (hard // 2, hard));"
        "assert raise_limit() == hard == r.getrlimit(r.RLIMIT_NOFILE)[0]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
