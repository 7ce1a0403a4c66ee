"""Embeddings of one name are the vectors of one model, whoever is up."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai

from nexus_proxy.backends.embedding import TEXTS
from nexus_proxy.state import BackendState
from nexus_proxy.tasks import spawn
from tests.contract.hot.asking import EMBEDDINGS, body_for, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Behaviour, Exchange, ScriptedBackend, faults

SIZE = 64


def model(seed: str, *, noise: float = 0.0) -> Behaviour:
    """An embedding model: a vector that hangs on the text, the seed, and a little noise."""

    async def embed(exchange: Exchange) -> None:
        asked = exchange.request.json.get("input")
        if asked is None:
            await Answer()(exchange)
            return
        data = []
        for index, text in enumerate([asked] if isinstance(asked, str) else asked):
            dice, grain = random.Random(f"{seed} {text}"), random.Random(exchange.name)
            vector = [dice.gauss(0, 1) + noise * grain.gauss(0, 1) for _ in range(SIZE)]
            data.append({"object": "embedding", "index": index, "embedding": vector})
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        await exchange.json(200, {"object": "list", "data": data, "usage": usage})

    return embed


@asynccontextmanager
async def two(
    first: Behaviour, second: Behaviour, *, slots: int | None = None, **tables: Any
) -> AsyncIterator[tuple[RunningGateway, ScriptedBackend, ScriptedBackend]]:
    """`a` is preferred to `b`; both list the model."""
    routing = {"strategy": "priority_only", "max_retries": 1, **tables.pop("routing", {})}
    async with ScriptedBackend(name="a") as a, ScriptedBackend(name="b") as b:
        a.behave(first)
        b.behave(second)
        entries = [
            backend_entry("a", a.url, priority=1, max_concurrent=slots),
            backend_entry("b", b.url, priority=90, max_concurrent=slots),
        ]
        async with running_gateway(entries, routing=routing, **tables) as gateway:
            yield gateway, a, b


async def embed(gateway: RunningGateway, **more: Any) -> httpx.Response:
    return await post(gateway, body_for(EMBEDDINGS, **more), EMBEDDINGS)


async def compared(gateway: RunningGateway, *names: str) -> None:
    registry = gateway.runtime.registry
    await gateway.until(lambda: all("m" in registry.get(name).vectors for name in names))


async def test_the_same_vectors_may_come_from_another_backend() -> None:
    async with two(model("one"), model("one", noise=0.01)) as (gateway, a, b):
        assert (await embed(gateway)).headers["x-nexus-backend"] == "a"
        await compared(gateway, "a", "b")
        assert [request.json["input"] for request in b.generations] == [list(TEXTS)]
        a.behave(faults.status(503))
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x") as sdk:
            raw = await sdk.embeddings.with_raw_response.create(model="m", input="hi")
        assert raw.headers["x-nexus-backend"] == "b"
        assert len(raw.parse().data[0].embedding) == SIZE, "base64, the SDK's default, passes"


async def test_other_vectors_are_refused_with_the_reason_however_long_it_is_down() -> None:
    async with two(model("one"), model("two")) as (gateway, _a, _b):
        await embed(gateway)
        await compared(gateway, "a", "b")
        gateway.runtime.registry.set_drained("a", True)
        answer = await embed(gateway)
        error = error_of(answer, 503, "no_available_backend")
        assert "its vectors are not those of a (cosine " in error["message"]
        why = await gateway.client.get(f"/nexus/v1/why/{answer.headers['x-request-id']}")
        left_out = why.json()["decision"]["rejections"]
        assert "nexus backends pin m b" in next(r["fix"] for r in left_out if r["backend"] == "b")
        assert (await gateway.chat()).headers["x-nexus-backend"] == "b", "chat may go anywhere"
        forced = await embed(gateway, model="b/m")
        assert forced.headers["x-nexus-backend"] == "b", "an explicit wish is one"
        await gateway.runtime.run_command("backend.pin", {"model": "m", "backend": "b"})
        assert (await embed(gateway)).headers["x-nexus-backend"] == "b"


async def test_what_was_not_compared_yet_is_not_mixed() -> None:
    async with two(model("one"), faults.hang) as (gateway, a, b):
        await embed(gateway)
        await b.until(lambda: len(b.generations) == 1)
        a.behave(faults.status(503))
        answer = await embed(gateway)
        assert answer.status_code == 503
        record = gateway.runtime.history.get(answer.headers["x-request-id"])
        assert record.decision is not None
        (rejection,) = record.decision.rejections
        assert rejection.reason == "its vectors were not compared yet with those of a"


async def test_a_comparison_takes_a_slot_and_waits_for_one() -> None:
    async with two(model("one"), Answer(hold_before="headers"), slots=1) as (gateway, a, b):
        chat = spawn(gateway.chat("b/m"), name="client")
        await b.until(lambda: b.in_flight == 1)
        assert (await embed(gateway)).headers["x-nexus-backend"] == "a"
        admission = gateway.runtime.admission
        await gateway.until(
            lambda: [(w.id, w.model) for w in admission.waiting()] == [("vectors of m at b", "m")]
        )
        held = []

        async def watched(exchange: Exchange) -> None:
            held.append(gateway.runtime.registry.get("b").in_flight)
            await model("one")(exchange)

        b.behave(watched)
        b.release()
        assert (await chat).status_code == 200
        await compared(gateway, "a", "b")
        assert (a.peak, b.peak, held) == (1, 1, [1])
        assert [gateway.runtime.registry.get(name).in_flight for name in "ab"] == [0, 0]


async def test_who_never_answered_has_no_say() -> None:
    async with two(faults.status(503), model("two")) as (gateway, a, _b):
        assert (await embed(gateway)).headers["x-nexus-backend"] == "b"
        a.behave(model("one"))
        assert (await embed(gateway)).headers["x-nexus-backend"] == "b", "its vectors are the ones"


async def test_a_restart_takes_a_new_fingerprint() -> None:
    async with two(model("one"), model("one")) as (gateway, _a, b):
        await embed(gateway)
        await compared(gateway, "a", "b")
        registry = gateway.runtime.registry
        registry.mark("b", BackendState.DOWN, "gone")
        assert "m" in registry.get("b").vectors, "while it is down, others may stand in for it"
        await gateway.up("b")
        assert not registry.get("b").vectors
        b.behave(model("two"))
        await embed(gateway)
        await compared(gateway, "b")
        registry.set_drained("a", True)
        assert "its vectors are not those of a" in (await embed(gateway)).text


async def test_a_fallback_model_needs_the_same_vectors_too() -> None:
    async with two(model("one"), model("two"), routing={"fallbacks": {"m": ["other"]}}) as (
        gateway,
        _a,
        b,
    ):
        b.models = ["other"]
        registry = gateway.runtime.registry
        await gateway.until(lambda: registry.has_model("other"))
        assert (await embed(gateway)).headers["x-nexus-backend"] == "a"
        registry.set_drained("a", True)
        answer = await embed(gateway)
        assert "its vectors were not compared yet with those of a" in answer.text
        assert (await gateway.chat()).headers["x-nexus-fallback-model"] == "other"
