"""The operator ends one request: its backend stops, its client is told, and nobody is blamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from nexus_proxy.errors import NotFoundError
from nexus_proxy.state import RequestPhase, RequestView
from tests.contract.hot.asking import error_of
from tests.faults.streams import stream_chat
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend


@pytest.fixture
async def box() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m"], name="box") as one:
        yield one


@pytest.fixture
async def house(box: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("box", box.url, max_concurrent=1)]) as running:
        yield running


def newest(house: RunningGateway) -> RequestView:
    return house.runtime.snapshot().requests[0]


async def cancel(house: RunningGateway, request_id: str) -> str:
    done = await house.runtime.run_command("request.cancel", {"request": request_id})
    return done.message


def nobody_is_blamed(house: RunningGateway) -> bool:
    backend, totals = house.runtime.registry.get("box"), house.runtime.history.totals()
    hours = [view.hour.faults for view in house.runtime.quality.views()]
    return (backend.failures, totals.failures, totals.cancelled, sum(hours)) == (0, 0, 1, 0)


async def test_a_stream_ends_with_an_error_event_and_its_backend_stops(
    house: RunningGateway, box: ScriptedBackend
) -> None:
    box.behave(Answer(hold_before=3))
    asking = asyncio.ensure_future(stream_chat(house))  # noqa: TID251 - the test is the client
    await house.until(lambda: house.runtime.history.in_flight == 1)
    await house.until(lambda: newest(house).phase is RequestPhase.STREAMING)
    running = newest(house)
    asked = house.runtime.consequence("request.cancel", {"request": running.id})
    assert asked is not None
    assert f"Cancel {running.id}? m on box" in asked
    assert "its client was told" in await cancel(house, running.id)
    cut = await asking
    assert cut.error is not None
    assert cut.error["code"] == "cancelled_by_operator"
    assert cut.dones == 0
    await box.generations[0].closed(within=1.0)
    ended = house.runtime.history.get(running.id)
    assert (ended.phase, ended.code) == (RequestPhase.CANCELLED, "cancelled_by_operator")
    assert ended.attempts[0].code == "cancelled_by_operator"
    assert nobody_is_blamed(house)
    box.behave(Answer())
    assert (await house.chat()).status_code == 200, "its slot is free again"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/chat/completions", None),
        ("/v1/messages", {"type": "error"}),
        ("/api/chat", {"error": "The operator of the gateway cancelled this request."}),
    ],
)
async def test_before_the_first_byte_it_is_answered_in_the_callers_dialect(
    house: RunningGateway, box: ScriptedBackend, path: str, error: dict[str, str] | None
) -> None:
    box.behave(Answer(hold_before="headers"))
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    asking = asyncio.ensure_future(house.client.post(path, json=body))  # noqa: TID251
    await box.until(lambda: len(box.generations) == 1)
    await cancel(house, newest(house).id)
    answer = await asking
    assert answer.status_code == 499
    assert answer.headers["x-should-retry"] == "false"
    if error is None:
        error_of(answer, 499, "cancelled_by_operator")
    else:
        assert error.items() <= answer.json().items()
    await box.generations[0].closed(within=1.0)
    assert nobody_is_blamed(house)


async def test_one_that_waits_in_the_queue_leaves_it(
    house: RunningGateway, box: ScriptedBackend
) -> None:
    box.behave(Answer(hold_before=3))
    first = asyncio.ensure_future(stream_chat(house))  # noqa: TID251
    await box.until(lambda: len(box.generations) == 1)
    second = asyncio.ensure_future(house.chat())  # noqa: TID251
    await house.until(lambda: bool(house.runtime.admission.waiting()))
    await cancel(house, house.runtime.admission.waiting()[0].id)
    error_of(await second, 499, "cancelled_by_operator")
    assert not house.runtime.admission.waiting()
    box.release()
    assert (await first).dones == 1
    assert len(box.generations) == 1


async def test_what_does_not_run_cannot_be_cancelled(house: RunningGateway) -> None:
    await house.chat()
    over = newest(house).id
    for name in (over, "req_nobody"):
        with pytest.raises(NotFoundError, match="nexus requests"):
            await cancel(house, name)
    assert house.runtime.history.get(over).phase is RequestPhase.DONE
