"""Two real llama.cpp routers: load, unload, and a move under load that fails no request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from nexus_proxy.state import OperationView
from nexus_proxy.tasks import spawn
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.llama import LlamaServer, start_router

pytestmark = pytest.mark.real

CHAT = "/v1/chat/completions"
PATIENCE = 120.0
SHORT: dict[str, Any] = {
    "model": "alpha",
    "messages": [{"role": "user", "content": "Say hello."}],
    "max_tokens": 8,
    "ignore_eos": True,
}


@pytest.fixture(scope="module")
def routers() -> Iterator[tuple[LlamaServer, LlamaServer]]:
    left, right = start_router(), start_router()
    yield left, right
    left.stop()
    right.stop()


@pytest.fixture
async def gateway(routers: tuple[LlamaServer, LlamaServer]) -> AsyncIterator[RunningGateway]:
    left, right = routers
    entries = [
        backend_entry("left", left.url, type="llamacpp", priority=0),
        backend_entry("right", right.url, type="llamacpp"),
    ]
    queue = {"max_wait_seconds": 100}
    patient = {"interval_seconds": 1.0, "timeout_seconds": 20.0}
    async with running_gateway(entries, queue=queue, health_check=patient) as running:
        yield running


async def over(gateway: RunningGateway, view: OperationView) -> OperationView:
    def now() -> OperationView:
        return next(one for one in gateway.runtime.lifecycle.views() if one.id == view.id)

    await gateway.until(lambda: now().is_over, seconds=PATIENCE)
    assert now().error is None
    return now()


def is_loaded(gateway: RunningGateway, backend: str) -> bool | None:
    return gateway.runtime.registry.get(backend).models["alpha"].loaded


async def test_load_move_under_load_and_unload(gateway: RunningGateway) -> None:
    lifecycle = gateway.runtime.lifecycle
    await over(gateway, lifecycle.load("alpha", "left"))
    assert is_loaded(gateway, "left")
    assert lifecycle.times.get("left", "alpha")

    answers: list[httpx.Response] = []
    enough = asyncio.Event()

    async def keep_asking(*, stream: bool) -> None:
        while not enough.is_set():
            body = {**SHORT, "stream": stream}
            answers.append(await gateway.client.post(CHAT, json=body, timeout=PATIENCE))

    clients = [spawn(keep_asking(stream=n % 2 == 0), name=f"client {n}") for n in range(4)]
    await gateway.until(lambda: len(answers) >= 4, seconds=PATIENCE)
    await over(gateway, lifecycle.migrate("alpha", "left", "right"))
    assert (is_loaded(gateway, "left"), is_loaded(gateway, "right")) == (False, True)
    moved = len(answers)
    await gateway.until(lambda: len(answers) >= moved + 8, seconds=PATIENCE)
    enough.set()
    await asyncio.gather(*clients)

    assert {answer.status_code for answer in answers} == {200}
    streams = [a.text for a in answers if a.headers["content-type"].startswith("text/event-stream")]
    assert streams
    assert all(text.rstrip().endswith("data: [DONE]") and "error" not in text for text in streams)
    assert answers[0].headers["x-nexus-backend"] == "left"
    assert {answer.headers["x-nexus-backend"] for answer in answers[-4:]} == {"right"}

    await over(gateway, lifecycle.unload("alpha", "right"))
    assert is_loaded(gateway, "right") is False
