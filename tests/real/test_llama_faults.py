"""A real llama.cpp that dies, comes back, fills up, and whose clients leave."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest

from nexus_proxy.state import BackendState, RequestPhase
from nexus_proxy.tasks import spawn
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.llama import LlamaServer, start_llama

pytestmark = pytest.mark.real
log = logging.getLogger(__name__)

CHAT = "/v1/chat/completions"
STORY: list[Any] = [{"role": "user", "content": "Tell me a very long story about a wizard."}]
LONG: dict[str, Any] = {
    "model": "smollm2",
    "messages": STORY,
    "temperature": 0,
    "max_tokens": 1500,
    "ignore_eos": True,
}
SHORT = {**LONG, "max_tokens": 6}
PATIENCE = 20.0

Servers = Callable[..., LlamaServer]


@pytest.fixture
async def own() -> AsyncIterator[LlamaServer]:
    """A server that the test may kill."""
    server = await asyncio.to_thread(start_llama)
    yield server
    await asyncio.to_thread(server.stop)


@pytest.fixture
async def shared(llama_server: Servers) -> AsyncIterator[tuple[LlamaServer, RunningGateway]]:
    """Two slots, behind a gateway."""
    server = llama_server()
    async with running_gateway([backend_entry("llama", server.url, type="llamacpp")]) as gateway:
        yield server, gateway


async def busy_slots(server: LlamaServer) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        slots = (await client.get(f"{server.url}/slots")).json()
    return sum(slot["is_processing"] for slot in slots)


async def until_busy(server: LlamaServer, count: int) -> float:
    """Wait until so many slots are at work; seconds. llama.cpp has no event to wait for."""
    started = time.monotonic()
    while (busy := await busy_slots(server)) != count:
        assert time.monotonic() - started < PATIENCE, f"{busy} slots are busy, not {count}"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def test_killed_in_mid_stream_and_restarted(own: LlamaServer) -> None:
    async with (
        running_gateway(
            [backend_entry("llama", own.url, type="llamacpp")], routing={"max_retries": 0}
        ) as gateway,
        openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key="x", max_retries=0, timeout=60
        ) as sdk,
    ):
        stream = await sdk.chat.completions.create(
            model="smollm2", messages=STORY, stream=True, extra_body=LONG
        )
        for _ in range(5):
            await anext(stream)
        own.kill()
        with pytest.raises(openai.APIError, match="llama closed the connection"):
            async for _chunk in stream:
                pass
        backend = gateway.runtime.registry.get("llama")
        assert backend.in_flight == 0

        answer = await gateway.client.post(CHAT, json=SHORT)
        assert answer.status_code in (502, 503)
        assert answer.json()["error"]["message"]
        assert backend.health is BackendState.DOWN, "at once, without waiting for a check"

        await asyncio.to_thread(own.restart)
        restarted = time.monotonic()
        await gateway.up("llama")
        assert (await gateway.client.post(CHAT, json=SHORT)).status_code == 200
        assert time.monotonic() - restarted < PATIENCE


async def test_killed_in_the_middle_of_a_whole_answer(own: LlamaServer) -> None:
    """Nothing had reached the client: another server takes over."""
    spare = await asyncio.to_thread(start_llama)
    try:
        entries = [
            backend_entry("first", own.url, type="llamacpp", priority=1),
            backend_entry("spare", spare.url, type="llamacpp", priority=90),
        ]
        async with running_gateway(entries, routing={"strategy": "priority_only"}) as gateway:
            body = {**LONG, "max_tokens": 120}
            asking = spawn(gateway.client.post(CHAT, json=body), name="client")
            await until_busy(own, 1)
            own.kill()
            answer = await asking
            assert answer.status_code == 200
            assert answer.headers["x-nexus-backend"] == "spare"
            assert answer.headers["x-nexus-route-reason"] == "failover"
            assert answer.json()["usage"]["completion_tokens"] == 120
    finally:
        await asyncio.to_thread(spare.stop)


async def test_forty_streams_in_a_row(shared: tuple[LlamaServer, RunningGateway]) -> None:
    """It closes the connection after each, while announcing keep-alive."""
    server, gateway = shared
    for _ in range(40):
        answer = await gateway.client.post(CHAT, json={**SHORT, "max_tokens": 2, "stream": True})
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n")
        assert '"error"' not in answer.text
    assert gateway.runtime.registry.get("llama").failures == 0
    assert all(len(request.attempts) == 1 for request in gateway.runtime.history.newest(40))
    assert await busy_slots(server) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_slot(
    shared: tuple[LlamaServer, RunningGateway], stream: bool
) -> None:
    """Asked directly, llama.cpp would generate a non-streaming answer to its end."""
    server, gateway = shared
    await until_busy(server, 0)
    asking = spawn(gateway.client.post(CHAT, json={**LONG, "stream": stream}), name="client")
    await until_busy(server, 1)
    asking.cancel()
    seconds = await until_busy(server, 0)
    log.info("the slot was free after %.3f s", seconds)
    # 1500 tokens take some 25 s: a slot that is free this soon was freed, not done.
    assert seconds < 5.0
    await gateway.until(lambda: gateway.runtime.history.in_flight == 0)
    assert gateway.runtime.history.newest(1)[0].phase is RequestPhase.CANCELLED
    assert gateway.runtime.registry.get("llama").failures == 0


async def test_more_requests_than_slots_are_all_served(
    shared: tuple[LlamaServer, RunningGateway],
) -> None:
    server, gateway = shared
    backend = gateway.runtime.registry.get("llama")
    assert backend.slots == 2, "learnt from /props"
    bodies = [{**SHORT, "stream": number % 2 == 0} for number in range(8)]
    answers = await asyncio.gather(*(gateway.client.post(CHAT, json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200] * 8
    for answer, body in zip(answers, bodies, strict=True):
        if body["stream"]:
            assert answer.text.endswith("data: [DONE]\n\n")
        else:
            assert answer.json()["usage"]["completion_tokens"] == 6
    assert backend.in_flight == 0
    assert await busy_slots(server) == 0


async def test_a_limit_holds_where_nobody_may_wait(llama_server: Servers) -> None:
    server = llama_server()
    entry = backend_entry("llama", server.url, type="llamacpp", max_concurrent=2)
    async with running_gateway([entry], queue={"enabled": False}) as gateway:
        await until_busy(server, 0)
        running = [
            spawn(gateway.client.post(CHAT, json={**LONG, "stream": True}), name="client")
            for _ in range(2)
        ]
        await until_busy(server, 2)
        answer = await gateway.client.post(CHAT, json=SHORT)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert json.loads(answer.headers["x-nexus-rejection-details"])[0]["stage"] == "schedule"
        for asking in running:
            asking.cancel()
        await until_busy(server, 0)
        await gateway.until(lambda: gateway.runtime.registry.get("llama").in_flight == 0)
        assert (await gateway.client.post(CHAT, json=SHORT)).status_code == 200


async def test_who_leaves_the_queue_does_not_hold_up_the_rest(
    shared: tuple[LlamaServer, RunningGateway],
) -> None:
    """Two run and two wait for their slots; all four leave, and the next is served at once."""
    server, gateway = shared
    await until_busy(server, 0)
    leaving = [
        spawn(gateway.client.post(CHAT, json={**LONG, "stream": n % 2 == 0}), name="client")
        for n in range(4)
    ]
    await until_busy(server, 2)
    await gateway.until(lambda: len(gateway.runtime.admission.waiting()) == 2)
    for asking in leaving:
        asking.cancel()
    async with asyncio.timeout(10):
        answer = await gateway.client.post(CHAT, json=SHORT)
    assert answer.status_code == 200
    await gateway.until(lambda: gateway.runtime.history.in_flight == 0)
    await until_busy(server, 0)
