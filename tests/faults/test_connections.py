"""Connections to backends are kept and used again, and a stale one costs nothing."""

from __future__ import annotations

import pytest

from tests.faults.streams import stream_chat
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend


@pytest.mark.parametrize("stream", [False, True])
async def test_requests_in_a_row_share_one_connection(
    gateway: RunningGateway, first: ScriptedBackend, stream: bool
) -> None:
    for _ in range(10):
        if stream:
            assert (await stream_chat(gateway)).dones == 1
        else:
            assert (await gateway.chat()).status_code == 200
    assert len({request.connection for request in first.generations}) == 1


async def test_a_pooled_connection_that_was_closed_meanwhile_is_replaced_without_a_trace(
    gateway: RunningGateway, first: ScriptedBackend, second: ScriptedBackend
) -> None:
    assert (await gateway.chat()).status_code == 200
    first.drop_connections(reset=True)
    answer = await gateway.chat()
    assert answer.headers["x-nexus-backend"] == "first"
    assert answer.headers["x-nexus-route-reason"] == "capability-match"
    assert gateway.runtime.registry.get("first").failures == 0
    assert not second.generations
