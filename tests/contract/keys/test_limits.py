"""Requests and tokens per minute, as a client meets them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest

from nexus_proxy.admission.limits import Limits
from tests.contract.hot.asking import CHAT, body_for, error_of, post
from tests.contract.keys.world import OTHER, SECRET, bearer, key_table, keyed
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as one:
        yield one


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.now = 1000.0
        runtime = gateway.runtime
        runtime.limits = runtime.relay.limits = Limits(runtime.keyring, clock=lambda: self.now)


async def test_after_retry_after_exactly_one_passes(backend: ScriptedBackend) -> None:
    async with keyed(backend, key_table(requests_per_minute=7)) as gateway:
        clock = Clock(gateway)
        for left in range(6, -1, -1):
            answer = await post(gateway, body_for(CHAT), headers=bearer())
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        for _ in range(3):
            refused = await post(gateway, body_for(CHAT), headers=bearer())
            error = error_of(refused, 429, "rate_limit_exceeded")
            assert "'ci' is at its limit of 7 requests per minute" in error["message"]
            told = refused.headers
            assert (told["retry-after"], told["retry-after-ms"]) == ("9", "8572")
            assert told["x-ratelimit-limit-requests"] == "7"
            assert told["x-ratelimit-remaining-requests"] == "0"
            assert told["x-ratelimit-reset-requests"] == "1m0s"
            assert "x-should-retry" not in told
            clock.now += int(told["retry-after"]) - 1
            refused = await post(gateway, body_for(CHAT), headers=bearer())
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            clock.now += 1
            assert (await post(gateway, body_for(CHAT), headers=bearer())).status_code == 200
            clock.now -= 9 - 60 / 7  # the rest of the second belongs to the next one
        assert len(backend.generations) == 10


HI = [{"role": "user", "content": "hi"}]
FORMS: list[tuple[str, dict[str, Any], Callable[[dict[str, Any]], list[str]]]] = [
    (CHAT, {"messages": HI}, lambda told: [told["error"]["type"], told["error"]["code"]]),
    ("/v1/responses", {"input": "hi"}, lambda told: [told["error"]["type"], told["error"]["code"]]),
    (
        "/v1/messages",
        {"messages": HI, "max_tokens": 5},
        lambda told: [told["type"], told["error"]["type"], told["request_id"][:4]],
    ),
    ("/api/chat", {"messages": HI}, lambda told: [*told, type(told["error"]).__name__]),
]
TOLD = {
    CHAT: {
        403: ["invalid_request_error", "model_not_allowed"],
        429: ["rate_limit_error", "rate_limit_exceeded"],
        402: ["insufficient_quota", "budget_exceeded"],
    },
    "/v1/messages": {
        403: ["error", "permission_error", "req-"],
        429: ["error", "rate_limit_error", "req-"],
        402: ["error", "billing_error", "req-"],
    },
    "/api/chat": {403: ["error", "str"], 429: ["error", "str"], 402: ["error", "str"]},
}


@pytest.mark.parametrize(("path", "body", "form"), FORMS)
async def test_every_dialect_is_refused_in_its_own_form(
    backend: ScriptedBackend,
    path: str,
    body: dict[str, Any],
    form: Callable[[dict[str, Any]], list[str]],
) -> None:
    backend.models = ["m", "other"]
    told = TOLD.get(path, TOLD[CHAT])
    table = key_table(models=["m"], requests_per_minute=1, monthly_limit_usd=0.0)
    prices = [{"model": "m", "input_usd_per_million": 1.0, "output_usd_per_million": 1.0}]
    async with keyed(backend, table, prices=prices) as gateway:
        for model, status, wait in (("other", 403, None), ("m", 402, None), ("m", 429, "60")):
            answer = await post(gateway, {"model": model, **body}, path, bearer())
            assert (answer.status_code, form(answer.json())) == (status, told[status])
            assert answer.headers.get("retry-after") == wait
    assert not backend.generations


async def test_tokens_are_corrected_by_what_the_backend_measured(
    backend: ScriptedBackend,
) -> None:
    """An answer takes 11 tokens; the estimate for two letters is 0."""
    async with keyed(backend, key_table(tokens_per_minute=20)) as gateway:
        Clock(gateway)
        assert (await post(gateway, body_for(CHAT), headers=bearer())).status_code == 200
        (view,) = gateway.runtime.snapshot().keys
        assert (view.tokens, view.tokens_left) == (11, 9)
        stream = await post(gateway, body_for(CHAT, stream=True), headers=bearer())
        assert stream.status_code == 200
        refused = await post(gateway, body_for(CHAT), headers=bearer())
        error = error_of(refused, 429, "rate_limit_exceeded")
        assert "20 tokens per minute" in error["message"]
        assert refused.headers["retry-after"] == "9"  # 2 of 22 are owed, and 1 is asked for
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"


async def test_what_reached_no_backend_costs_no_tokens(backend: ScriptedBackend) -> None:
    async with keyed(backend, key_table(tokens_per_minute=1000)) as gateway:
        gateway.runtime.registry.set_drained("one", True)
        long = body_for(CHAT, messages=[{"role": "user", "content": "x" * 3000}])
        for _ in range(3):
            assert (await post(gateway, long, headers=bearer())).status_code == 503
        (view,) = gateway.runtime.snapshot().keys
        assert (view.tokens, view.requests) == (0, 3)


async def test_one_keys_limit_is_no_others(backend: ScriptedBackend) -> None:
    keys = [key_table(requests_per_minute=1), key_table("other", OTHER)]
    async with keyed(backend, *keys) as gateway:
        answers = [await post(gateway, body_for(CHAT), headers=bearer()) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        for _ in range(3):
            other = await post(gateway, body_for(CHAT), headers=bearer(OTHER))
            assert other.status_code == 200
            assert "x-ratelimit-limit-requests" not in other.headers


async def test_the_sdk_waits_as_told_and_gets_its_answer(backend: ScriptedBackend) -> None:
    async with (
        keyed(backend, key_table(requests_per_minute=60)) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=SECRET, max_retries=2) as sdk,
    ):
        await sdk.models.list()  # what it does only once takes a while
        bucket = gateway.runtime.limits.used["ci"].requests_left
        assert bucket is not None
        bucket.take(60, time.monotonic())
        done = await sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )
        assert done.choices[0].message.content
        (view,) = gateway.runtime.snapshot().keys
        assert (view.refused, view.requests) == (1, 1)
