"""The queue over HTTP: who waits, who goes first, and who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from nexus_proxy.tasks import spawn
from tests.contract.hot.asking import CHAT, body_for, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway, until
from tests.support.scripted import Answer, ScriptedBackend, faults


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="one") as one:
        one.behave(Answer(hold_before="headers"))
        yield one


@pytest.fixture
async def gateway(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("one", backend.url, max_concurrent=1)]) as running:
        yield running


def asking(gateway: RunningGateway, name: str, **headers: str) -> asyncio.Task[httpx.Response]:
    sent = {"x-request-id": name, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return spawn(post(gateway, body_for(CHAT), headers=sent), name="client")


async def waiting(gateway: RunningGateway, *names: str) -> None:
    admission = gateway.runtime.admission
    await until(gateway.runtime.bus, lambda: [w.id for w in admission.waiting()] == [*names])


async def one_waits(
    gateway: RunningGateway, backend: ScriptedBackend
) -> tuple[asyncio.Task[httpx.Response], asyncio.Task[httpx.Response]]:
    """A request that runs, and one called `second` that waits for its slot."""
    running = asking(gateway, "running")
    await backend.until(lambda: backend.in_flight == 1)
    second = asking(gateway, "second")
    await waiting(gateway, "second")
    return running, second


async def test_a_request_waits_for_the_slot_and_says_how_long(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    first, second = await one_waits(gateway, backend)
    told = (await gateway.client.get("/nexus/v1/queue")).json()["waiting"][0]
    assert told["waits_for"] == [{"backend": "one", "model": "m", "why": "its only slot is taken"}]
    assert gateway.runtime.history.get("second").phase.value == "queued"
    backend.release()
    answers = [await first, await second]
    assert [a.status_code for a in answers] == [200, 200]
    assert "x-nexus-queued-ms" not in answers[0].headers
    assert int(answers[1].headers["x-nexus-queued-ms"]) >= 0
    assert answers[1].headers["server-timing"].startswith("queue;dur=")
    assert backend.peak == 1


async def test_high_goes_first(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    running = [asking(gateway, "running")]
    await backend.until(lambda: backend.in_flight == 1)
    running.append(asking(gateway, "normal"))
    await waiting(gateway, "normal")
    running.append(asking(gateway, "urgent", x_nexus_priority="high"))
    await waiting(gateway, "urgent", "normal")
    backend.release()
    await asyncio.gather(*running)
    served = [dict(request.headers)["x-request-id"] for request in backend.generations]
    assert served == ["running", "urgent", "normal"]


async def test_a_client_that_leaves_the_queue_takes_no_slot(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    running = asking(gateway, "running")
    await backend.until(lambda: backend.in_flight == 1)
    leaving, staying = asking(gateway, "leaving"), asking(gateway, "staying")
    admission = gateway.runtime.admission
    await until(gateway.runtime.bus, lambda: len(admission.waiting()) == 2)
    leaving.cancel()
    await waiting(gateway, "staying")
    backend.release()
    assert [(await task).status_code for task in (running, staying)] == [200, 200]
    assert len(backend.generations) == 2
    assert gateway.runtime.registry.get("one").in_flight == 0


@pytest.mark.parametrize(
    ("queue", "code"),
    [({"max_size": 1}, "queue_full"), ({"max_wait_seconds": 0.2}, "queue_timeout")],
)
async def test_full_or_late_is_503_and_tells_when_to_come_back(
    backend: ScriptedBackend, queue: dict[str, Any], code: str
) -> None:
    entries = [backend_entry("one", backend.url, max_concurrent=1)]
    async with running_gateway(entries, queue=queue) as gateway:
        tasks = [asking(gateway, "running")]
        await backend.until(lambda: backend.in_flight == 1)
        if code == "queue_full":
            tasks.append(asking(gateway, "waiting"))
            await waiting(gateway, "waiting")
        refused = await post(gateway, body_for(CHAT))
        error = error_of(refused, 503, code)
        assert error["context"]["available_backends"] == ["one"]
        assert "eta_seconds" in error["context"]
        assert int(refused.headers["retry-after"]) >= 1
        assert "x-should-retry" not in refused.headers
        backend.release()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("path", "ping", "end"),
    [
        (CHAT, ": ping\n", "data: [DONE]\n\n"),
        ("/v1/messages", 'event: ping\ndata: {"type":"ping"}\n\n', '{"type":"message_stop"}\n\n'),
    ],
)
@pytest.mark.parametrize("in_time", [True, False])
async def test_a_stream_hears_while_it_waits_that_it_is_not_forgotten(
    backend: ScriptedBackend,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    ping: str,
    end: str,
    in_time: bool,
) -> None:
    monkeypatch.setattr("nexus_proxy.relay.call.OPEN_AFTER", 0.05)
    entries = [backend_entry("one", backend.url, max_concurrent=1)]
    async with running_gateway(entries, queue={"max_wait_seconds": 60 if in_time else 1.5}) as one:
        running = asking(one, "running")
        await backend.until(lambda: backend.in_flight == 1)
        body = {**body_for(CHAT), "max_tokens": 9, "stream": True}
        async with one.client.stream("POST", path, json=body) as answer:
            assert answer.status_code == 200
            pieces = answer.aiter_text()
            text = await anext(pieces)
            assert text == ping
            if in_time:
                backend.release()
            text = "".join([piece async for piece in pieces])
        assert text.endswith(end) is in_time
        assert ("No slot became free" in text) is not in_time
        backend.release()
        await running


async def test_another_backend_that_comes_up_takes_who_waits(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    running, second = await one_waits(gateway, backend)
    async with ScriptedBackend(name="two") as two:
        await gateway.runtime.add_backend(two.url, name="two", type_=None, zone=None)
        assert (await second).headers["x-nexus-backend"] == "two"
    backend.release()
    await running


async def test_a_backend_that_is_removed_ends_the_wait_for_it(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    running, second = await one_waits(gateway, backend)
    gateway.runtime.registry.set_drained("one", True)
    error_of(await second, 503, "no_available_backend")
    backend.release()
    await running


async def test_who_fails_after_a_wait_is_told_what_the_backend_said(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    running, second = await one_waits(gateway, backend)
    backend.behave(faults.status(500, "the runner has crashed"))
    backend.release()
    await running
    answer = await second
    assert answer.status_code == 500
    assert "the runner has crashed" in answer.text


async def test_who_failed_on_one_and_waits_for_another_that_leaves_is_told_of_the_first(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    running = asking(gateway, "running")
    await backend.until(lambda: backend.in_flight == 1)
    async with ScriptedBackend(name="two") as two:
        two.behave(faults.status(500, "the runner has crashed"))
        await gateway.runtime.add_backend(two.url, name="two", type_=None, zone=None)
        second = asking(gateway, "second")
        await waiting(gateway, "second")
        gateway.runtime.registry.set_drained("one", True)
        answer = await second
    assert "the runner has crashed" in answer.text
    backend.release()
    await running
