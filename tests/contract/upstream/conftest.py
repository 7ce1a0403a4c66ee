"""Connecting is tested on both loops: they differ in TLS, in cancelling and in their errors."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from tests.contract.upstream.resolver import AsyncioLoop, Resolver, Scripted, UvloopLoop
from tests.support.connect_proxy import ConnectProxy
from tests.support.tls_backend import Authority, TlsBackend


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": UvloopLoop, "asyncio": AsyncioLoop}


@pytest.fixture
async def resolver() -> Resolver:
    """What the running loop's resolver says; other names are looked up as ever."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Scripted)
    return loop.resolver


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    chosen: ssl.TLSVersion = request.param
    return chosen


@pytest.fixture
async def cloud(authority: Authority) -> AsyncIterator[TlsBackend]:
    """A cloud, as far as a certificate for `api.test` makes one."""
    async with TlsBackend(authority.server_context("api.test", "localhost")) as backend:
        yield backend


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    async with ConnectProxy() as running:
        yield running
