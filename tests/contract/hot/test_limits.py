"""`max_concurrent`, and the promise that slots never leak."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from nexus_proxy.tasks import spawn
from tests.contract.hot.asking import CHAT, HELLO, body_for, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway, until
from tests.support.scripted import Answer, Behaviour, Cut, ScriptedBackend, faults


@pytest.fixture
async def spare() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="spare") as one:
        yield one


def asking(gateway: RunningGateway, **body: Any) -> asyncio.Task[httpx.Response]:
    return spawn(post(gateway, body_for(CHAT, **body)), name="client")


async def test_a_full_backend_gives_way_and_full_everywhere_is_503(
    backend: ScriptedBackend, spare: ScriptedBackend
) -> None:
    entries = [
        backend_entry("one", backend.url, priority=1, max_concurrent=2),
        backend_entry("spare", spare.url, priority=90, max_concurrent=1),
    ]
    backend.behave(Answer(hold_before="headers"))
    spare.behave(Answer(hold_before="headers"))
    routing, queue = {"strategy": "priority_only"}, {"enabled": False}
    async with running_gateway(entries, routing=routing, queue=queue) as gateway:
        running = [asking(gateway) for _ in range(2)]
        await backend.until(lambda: backend.in_flight == 2)
        running.append(asking(gateway, stream=True))
        await spare.until(lambda: spare.in_flight == 1)
        for stream in (False, True):
            answer = await post(gateway, body_for(CHAT, stream=stream))
            error = error_of(answer, 503, "queue_full")
            assert int(answer.headers["retry-after"]) >= 1
            assert "x-should-retry" not in answer.headers
            assert [(r["backend"], r["stage"]) for r in error["context"]["rejections"]] == [
                ("one", "schedule"),
                ("spare", "schedule"),
            ]
            assert (
                json.loads(answer.headers["x-nexus-rejection-details"])
                == (error["context"]["rejections"])
            )
            assert "all 2 slots taken" in answer.headers["x-nexus-rejection-reasons"]
        backend.release()
        spare.release()
        answers = await asyncio.gather(*running)
        assert [a.headers["x-nexus-backend"] for a in answers] == ["one", "one", "spare"]
        assert answers[2].headers["x-nexus-route-reason"] == "capacity-overflow"
        assert (await post(gateway, body_for(CHAT))).headers["x-nexus-backend"] == "one"
    assert (backend.peak, spare.peak) == (2, 1)


async def test_failing_over_keeps_the_limit_too(
    backend: ScriptedBackend, spare: ScriptedBackend
) -> None:
    """The second choice was free when the decision was made, and is not when it is due."""
    entries = [
        backend_entry("one", backend.url, priority=1),
        backend_entry("spare", spare.url, priority=90, max_concurrent=1),
    ]

    async def fail_when_told(exchange: Any) -> None:
        await exchange.held()
        await faults.status(500)(exchange)

    backend.behave(fail_when_told)
    spare.behave(Answer(hold_before="headers"))
    routing = {"strategy": "priority_only", "max_retries": 1}
    async with running_gateway(entries, routing=routing) as gateway:
        two = [asking(gateway) for _ in range(2)]
        await backend.until(lambda: backend.in_flight == 2)
        backend.release()
        await spare.until(lambda: spare.in_flight == 1)
        admission = gateway.runtime.admission
        await until(gateway.runtime.bus, lambda: len(admission.waiting()) == 1)
        assert admission.waiting()[0].waits_for[0].why == "its only slot is taken"
        spare.release()
        assert [a.status_code for a in await asyncio.gather(*two)] == [200, 200]
    assert spare.peak == 1


async def test_failing_over_heeds_what_an_operator_did_meanwhile(
    backend: ScriptedBackend, spare: ScriptedBackend
) -> None:
    changes: list[tuple[str, dict[str, Any]]] = [
        ("backend.drain", {"backend": "spare"}),
        ("backend.zone", {"backend": "spare", "zone": "open"}),
        ("backend.remove", {"backend": "spare"}),
    ]

    async def fail_when_told(exchange: Any) -> None:
        await exchange.held()
        await faults.status(500)(exchange)

    for verb, arguments in changes:
        entries = [
            backend_entry("one", backend.url, priority=1),
            backend_entry("spare", spare.url, priority=90),
        ]
        backend.hold()
        backend.behave(fail_when_told)
        backend.requests.clear()
        routing = {"strategy": "priority_only", "max_retries": 1}
        async with running_gateway(entries, routing=routing) as gateway:
            headers = {"x-nexus-zone": "confidential"}
            waiting = spawn(post(gateway, body_for(CHAT), headers=headers), name="client")
            await backend.until(lambda: bool(backend.generations))
            await gateway.runtime.run_command(verb, arguments)
            backend.release()
            assert (await waiting).status_code == 500, verb
            assert not spare.generations, verb


async def hang_up(gateway: RunningGateway, body: dict[str, Any], after: bytes) -> None:
    """Send a request, read until `after` came (nothing: at once) and close the connection."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = json.dumps(body).encode()
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (CHAT.encode(), len(content), content)
    )
    if after:
        await reader.readuntil(after)
    writer.transport.abort()


MISHAPS: list[Behaviour] = [
    faults.status(500),
    faults.status(429, headers={"retry-after-ms": "1"}),
    faults.reset_before_headers,
    faults.html,
    faults.overflow_llamacpp,
    faults.lying_length(+5),
    Answer(),
    Answer(noise=True),
]
STREAM_MISHAPS: list[Behaviour] = [
    *MISHAPS,
    Answer(cut=Cut.CLOSE, after=1),
    Answer(cut=Cut.RESET, after=3),
    Answer(cut=Cut.ERROR_EVENT, after=3),
]


async def test_after_all_kinds_of_endings_nothing_is_in_flight(
    backend: ScriptedBackend, spare: ScriptedBackend
) -> None:
    luck = random.Random(20_261_123)
    for one in (backend, spare):
        for _ in range(120):
            one.behave(luck.choice(STREAM_MISHAPS[:8]), times=1)
    entries = [
        backend_entry("one", backend.url, max_concurrent=7),
        backend_entry("spare", spare.url, max_concurrent=7),
    ]
    statuses: list[int] = []

    async def ask(gateway: RunningGateway, number: int) -> None:
        stream = number % 2 == 0
        body = {"model": "nobody" if number % 11 == 0 else "m", "messages": HELLO, "stream": stream}
        if number % 5 == 0:
            await hang_up(gateway, body, b"HTTP/1.1 " if number % 10 == 0 else b"")
        elif number % 13 == 0:
            statuses.append((await post(gateway, b"{")).status_code)
        else:
            statuses.append((await post(gateway, body)).status_code)

    async with running_gateway(
        entries, routing={"max_retries": 1}, health_check={"enabled": False}, wait_up=False
    ) as gateway:
        registry, history = gateway.runtime.registry, gateway.runtime.history
        await gateway.until(lambda: len(registry.serving("m")) == 2)
        for start in range(0, 200, 20):
            await asyncio.gather(*(ask(gateway, n) for n in range(start, start + 20)))
        await gateway.until(lambda: history.in_flight == 0)
        assert [one.in_flight for one in registry] == [0, 0]
        assert sum(one.requests for one in registry) > 100
        assert {200, 400, 404} <= set(statuses)
        assert history.requests > 150, "some clients are gone before they are heard"
        assert gateway.runtime.snapshot().totals.in_flight == 0
    await backend.until(lambda: backend.in_flight == 0)
    assert max(backend.peak, spare.peak) <= 7
