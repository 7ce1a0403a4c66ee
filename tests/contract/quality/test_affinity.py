"""A conversation goes back to the backend that has read it, while that one can serve."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

LONG = [{"role": "system", "content": "You are patient. " * 100}]


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with ScriptedBackend(["m"]) as one, ScriptedBackend(["m"]) as two:
        entries = [backend_entry("one", one.url), backend_entry("two", two.url)]
        async with running_gateway(entries) as running:
            yield running


async def grow(gateway: RunningGateway, turns: int, **headers: str) -> list[tuple[str, str]]:
    """(backend, reason) of each turn of a new conversation."""
    said, ways = [*LONG], []
    for turn in range(turns):
        said.append({"role": "user", "content": f"question {turn}"})
        answer = await gateway.chat(
            "m", {k.replace("_", "-"): v for k, v in headers.items()}, messages=said
        )
        ways.append((answer.headers["x-nexus-backend"], answer.headers["x-nexus-route-reason"]))
        said.append({"role": "assistant", "content": f"answer {turn}"})
    return ways


async def test_by_its_leading_messages(gateway: RunningGateway) -> None:
    (first, reason), *later = await grow(gateway, 12)
    assert reason == "capability-match"
    assert set(later) == {(first, "affinity")}


@pytest.mark.parametrize(
    "name", ["x_nexus_session", "x_claude_code_session_id", "session_id", "x_session_id"]
)
async def test_by_a_session_header(gateway: RunningGateway, name: str) -> None:
    first, _ = (await grow(gateway, 1, **{name: "s1"}))[0]
    gateway.runtime.registry.set_drained(first, True)
    other, reason = (await grow(gateway, 1, **{name: "s1"}))[0]
    assert other != first
    assert reason == "capability-match"
    gateway.runtime.registry.set_drained(first, False)
    assert await grow(gateway, 3, **{name: "s1"}) == [(other, "affinity")] * 3
