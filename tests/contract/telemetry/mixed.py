"""A mixed load: whole answers, streams, failures, retries, a queue, clients that leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from nexus_proxy.admission.keys import hash_of
from nexus_proxy.tasks import spawn
from tests.contract.hot.asking import CHAT, EMBEDDINGS, body_for, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, faults

SECRET = "nxs-" + "s" * 43
PROVIDER = "sk-provider-0123456789"
PROMPT, ANSWER = "the prompt of the canary", "the answer of the canary"
ASKED = [{"role": "user", "content": PROMPT}]


@dataclass
class Mixed:
    """A gateway over a cloud and two local backends, `one` (a single slot) and `two`."""

    gateway: RunningGateway
    cloud: ScriptedBackend
    one: ScriptedBackend
    two: ScriptedBackend

    async def ask(self, model: str, **more: Any) -> httpx.Response:
        """A request with the key."""
        path = more.pop("path", CHAT)
        body = body_for(path, model, **more)
        if path == CHAT:
            body["messages"] = ASKED
        return await post(self.gateway, body, path, {"authorization": f"Bearer {SECRET}"})

    async def load(self) -> None:
        """All of it. 13 requests: 8 done, 3 failed, 2 cancelled."""
        await self.ask("m")
        await self.ask("m", stream=True)
        await self.ask("gpt-4o", max_tokens=50)
        await self.ask("m", path=EMBEDDINGS)
        await self.one.until(lambda: _embedded(self.one) == 2)  # their vectors are compared
        await self.two.until(lambda: _embedded(self.two) == 1)
        await self.ask("nobody-has-this-" + PROMPT.replace(" ", "-"))  # failed
        self.one.behave(faults.status(500, "out of memory"), times=1)
        await self.ask("m")  # one fails, two answers
        self.cloud.behave(faults.status(500, "the cloud is sick"), times=1)
        await self.ask("gpt-4o", max_tokens=50)  # retried
        self.cloud.behave(faults.status(400, "never say this"), times=1)
        await self.ask("gpt-4o", max_tokens=50)  # failed
        self.cloud.behave(Answer(cut=Cut.CLEAN_EOF, after=2), times=1)
        await self.ask("gpt-4o", stream=True, max_tokens=50)  # failed
        await self._queue()

    async def _queue(self) -> None:
        """Two wait for the only slot of `one`; one of them leaves, as does one that is served."""
        registry, history = self.gateway.runtime.registry, self.gateway.runtime.history
        registry.set_drained("two", True)
        self.one.behave(Answer(hold_before=2))
        streaming = spawn(self.ask("m", stream=True), name="streams")
        await self.one.until(lambda: self.one.in_flight == 1)
        waiting = self.gateway.runtime.admission.waiting
        staying = spawn(self.ask("m"), name="stays")
        await self.gateway.until(lambda: len(waiting()) == 1)
        leaving = spawn(self.ask("m"), name="leaves")
        await self.gateway.until(lambda: len(waiting()) == 2)
        leaving.cancel()
        await self.gateway.until(lambda: len(waiting()) == 1)
        streaming.cancel()
        await self.gateway.until(lambda: history.cancelled == 2)
        self.one.release()
        assert (await staying).status_code == 200
        registry.set_drained("two", False)
        assert (await self.ask("m")).status_code == 200


def _embedded(backend: ScriptedBackend) -> int:
    return sum(request.path == EMBEDDINGS for request in backend.generations)


@asynccontextmanager
async def mixed(
    *, more_environ: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[Mixed]:
    """A gateway with a key and a provider's key, and what it serves."""
    told = Answer(text=(ANSWER[:10], ANSWER[10:]))
    async with (
        ScriptedBackend(["gpt-4o"], name="cloud") as cloud,
        ScriptedBackend(["m"], name="one") as one,
        ScriptedBackend(["m"], name="two") as two,
        running_gateway(
            [
                backend_entry("cloud", cloud.url, type="openai", api_key_env="OPENAI_API_KEY"),
                backend_entry("one", one.url, max_concurrent=1, priority=10),
                backend_entry("two", two.url),
            ],
            environ={"OPENAI_API_KEY": PROVIDER, **(more_environ or {})},
            keys=[{"name": "ci", "hash": hash_of(SECRET)}],
            routing={"strategy": "priority_only", "budget": {"monthly_limit_usd": 100.0}},
            **more,
        ) as gateway,
    ):
        for backend in (cloud, one, two):
            backend.behave(told)
        yield Mixed(gateway, cloud, one, two)
