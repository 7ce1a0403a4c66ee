"""One scripted backend behind a gateway, and the real SDK in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import openai
import pytest

from tests.contract.hot.asking import CLIENT_KEY
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="one") as one:
        yield one


@pytest.fixture
async def gateway(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    """Serves the model `m`; `n` is an alias of it."""
    async with running_gateway(
        [backend_entry("one", backend.url)], routing={"aliases": {"n": "m"}, "max_retries": 0}
    ) as running:
        yield running


@pytest.fixture
async def sdk(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=CLIENT_KEY, max_retries=0
    ) as client:
        yield client


@pytest.fixture
def sync_sdk(gateway: RunningGateway) -> Iterator[Callable[[], openai.OpenAI]]:
    """Makes blocking clients; use them in a thread."""
    made: list[openai.OpenAI] = []

    def make() -> openai.OpenAI:
        made.append(openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=CLIENT_KEY, max_retries=0))
        return made[-1]

    yield make
    for client in made:
        client.close()
