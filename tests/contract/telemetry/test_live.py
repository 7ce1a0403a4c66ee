"""What the screen shows of requests while they run."""

from __future__ import annotations

import asyncio

from nexus_proxy.state import RequestPhase
from tests.faults.streams import stream_chat
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend


async def test_tokens_are_counted_while_they_come_and_not_again_at_the_end() -> None:
    async with (
        ScriptedBackend(["m"], name="box") as box,
        running_gateway([backend_entry("box", box.url)]) as house,
    ):
        history = house.runtime.history
        box.behave(Answer(hold_before=4))
        asking = asyncio.ensure_future(stream_chat(house))  # noqa: TID251 - it is the client
        await box.until(lambda: len(box.generations) == 1)
        await house.until(
            lambda: house.runtime.snapshot().requests[0].phase is RequestPhase.STREAMING
        )
        while (view := house.runtime.snapshot().requests[0]).completion_tokens != 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert view.usage_source == "estimated"
        history.settle()
        running = house.runtime.snapshot().trend
        assert (sum(running.tokens), running.in_flight[-1]) == (3, 1)
        box.release()
        await asking
        history.settle()
        ended = house.runtime.snapshot()
        written = ended.requests[0].completion_tokens
        assert (sum(ended.trend.tokens), sum(ended.trend.requests)) == (written, 1)
        assert [ms for ms in ended.trend.first_token_ms if ms is not None]
