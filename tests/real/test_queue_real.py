"""A real llama.cpp router with room for one model, which kills what runs to load another one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from nexus_proxy.tasks import spawn
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.llama import LlamaServer

pytestmark = pytest.mark.real

CHAT = "/v1/chat/completions"
LONG: dict[str, Any] = {
    "model": "alpha",
    "messages": [{"role": "user", "content": "Tell me a very long story about a wizard."}],
    "max_tokens": 300,
    "ignore_eos": True,
    "stream": True,
}
QUEUE = {"max_wait_seconds": 100}


@pytest.fixture
async def gateway(llama_router: LlamaServer) -> AsyncIterator[RunningGateway]:
    entry = backend_entry("router", llama_router.url, type="llamacpp")
    async with running_gateway([entry], queue=QUEUE) as running:
        yield running


async def test_the_router_tells_how_many_models_it_keeps(gateway: RunningGateway) -> None:
    assert gateway.runtime.registry.get("router").max_loaded == 1


async def test_another_model_waits_until_the_answer_of_the_busy_one_is_whole(
    gateway: RunningGateway,
) -> None:
    events: list[dict[str, Any]] = []
    second, admission = None, gateway.runtime.admission
    async with gateway.client.stream("POST", CHAT, json=LONG, timeout=120) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            events.append(json.loads(line.removeprefix("data: ")))
            if second is None:
                second = spawn(ask(gateway, "beta"), name="second")
                await gateway.until(lambda: bool(admission.waiting()))
                (view,) = admission.waiting()
                assert view.waits_for[0].why == "swap: alpha runs 1 request"
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert not any("error" in event for event in events)
    assert second is not None
    other = await second
    assert other.status_code == 200, other.text
    assert other.json()["model"] == "beta"
    assert int(other.headers["x-nexus-queued-ms"]) > 0


async def ask(gateway: RunningGateway, model: str) -> httpx.Response:
    body = {"model": model, "messages": LONG["messages"], "max_tokens": 4}
    return await gateway.client.post(CHAT, json=body, timeout=120)
