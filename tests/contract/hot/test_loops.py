"""Gateways that list each other: a request is served or ends, and never goes round."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai
import pytest

from nexus_proxy.config.model import BackendType, Zone
from tests.contract.hot.asking import CHAT, HELLO, body_for, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend


@asynccontextmanager
async def pair(backend: ScriptedBackend) -> AsyncIterator[tuple[RunningGateway, RunningGateway]]:
    """Two gateways that list one backend and each other, and prefer each other."""
    entry = backend_entry("real", backend.url, priority=90)
    async with (
        running_gateway([entry], routing={"strategy": "priority_only"}) as left,
        running_gateway([entry], routing={"strategy": "priority_only"}) as right,
    ):
        for here, there in ((left, right), (right, left)):
            await here.runtime.add_backend(
                there.url, name="other", type_=BackendType.GENERIC, zone=Zone.RESTRICTED
            )
            here.runtime.registry.set_priority("other", 1)
            await here.up("other")
        yield left, right


@pytest.mark.parametrize("stream", [False, True])
async def test_a_ring_with_a_way_out_serves(backend: ScriptedBackend, stream: bool) -> None:
    async with pair(backend) as (left, right):
        answer = await post(left, body_for(CHAT, stream=stream))
        assert answer.status_code == 200
        assert "Hello" in answer.text
        assert answer.headers["x-nexus-node"] == left.runtime.node_id
        assert answer.headers["x-nexus-backend"] == "other"
        assert right.runtime.history.requests == 1
        assert left.runtime.history.requests == 2, "its own, and the one that came back"
        assert len(backend.generations) == 1


async def test_a_ring_without_a_way_out_ends_at_once(backend: ScriptedBackend) -> None:
    async with pair(backend) as (left, right):
        for one in (left, right):
            await one.runtime.run_command("backend.drain", {"backend": "real"})
        async with openai.AsyncOpenAI(base_url=f"{left.url}/v1", api_key="x") as sdk:
            with pytest.raises(openai.APIStatusError) as caught:
                await sdk.chat.completions.create(model="m", messages=HELLO)
        assert caught.value.status_code == 508
        assert caught.value.code == "loop_detected"
        assert "nexus backends remove" in caught.value.message
        assert left.runtime.history.requests == 2
        assert right.runtime.history.requests == 1
        assert left.runtime.registry.get("other").failures == 0


async def test_the_way_of_a_request_is_told_to_backends(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    headers = {"x-nexus-hops": "abc, de f,\tghi"}
    assert (await post(gateway, body_for(CHAT), headers=headers)).status_code == 200
    assert backend.generations[0].header("x-nexus-hops") == f"abc, ghi, {gateway.runtime.node_id}"
