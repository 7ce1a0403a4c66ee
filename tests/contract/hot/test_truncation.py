"""A backend that cuts prompts without a word is found out; one that counts differently is not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from nexus_proxy.state import BackendState, RequestView, Truncation
from nexus_tui.format import Moment
from nexus_tui.screens.request_detail import request_story
from tests.contract.hot.asking import COMPLETIONS, EMBEDDINGS, post
from tests.support import fake_backends
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Exchange, ScriptedBackend
from tests.support.scripted.payloads import PROMPT_TOKENS

HEADER = "x-nexus-truncated"
LONG = "It was a bright cold day in April, and the clocks were striking thirteen. " * 300
LEAST = len(LONG) // 7
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 30_000}"}}


def said(*texts: str) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def record(gateway: RunningGateway, answer: httpx.Response) -> RequestView:
    return gateway.runtime.history.get(answer.headers["x-request-id"])


def story(view: RequestView) -> str:
    lines = request_story(view, Moment(0.0), 100)
    return "\n".join("".join(cell.text for cell in line) for line in lines)


async def test_a_cut_prompt_is_told_in_header_record_screen_log_and_problems(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    answer = await gateway.chat(messages=said(LONG))
    assert answer.headers[HEADER] == f"counted={PROMPT_TOKENS}, sent>={LEAST}"
    view = record(gateway, answer)
    assert view.truncated == Truncation(counted=PROMPT_TOKENS, sent=LEAST)
    assert f"counted {PROMPT_TOKENS} tokens of at least {LEAST}" in story(view)
    gateway.runtime.history.settle()
    (problem,) = gateway.runtime.snapshot().problems
    assert problem.startswith("one cut a prompt for m without a word")
    line = next(line for line in gateway.runtime.logs.ring.lines if view.id in line.message)
    assert (line.level, "its prompt was cut" in line.message) == ("warning", True)
    told = await gateway.client.get(f"/nexus/v1/why/{view.id}")
    assert told.json()["truncated"] == {"counted": PROMPT_TOKENS, "sent": LEAST}
    gateway.runtime.registry.mark("one", BackendState.DOWN, "gone")
    assert gateway.runtime.registry.views()[0].warning is None, "it may be another one now"


async def test_a_stream_tells_it_where_it_still_can(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    answer = await gateway.chat(messages=said(LONG), stream=True)
    assert HEADER not in answer.headers
    assert record(gateway, answer).truncated is not None
    assert gateway.runtime.registry.get("one").truncation is not None


@pytest.mark.parametrize(("path", "key"), [(COMPLETIONS, "prompt"), (EMBEDDINGS, "input")])
async def test_other_prompts_are_held_against_the_count_too(
    gateway: RunningGateway, path: str, key: str
) -> None:
    answer = await post(gateway, {"model": "m", key: [LONG, LONG]}, path)
    assert answer.headers[HEADER] == f"counted={PROMPT_TOKENS}, sent>={2 * len(LONG) // 7}"


HARMLESS: dict[str, list[dict[str, Any]]] = {
    "short": said("Hello " * 200),
    "folds into few tokens": said("-" * 30_000, "Sure", " " * 30_000),
    "may be cached": said(LONG, "Indeed.", "Go on"),
    "is a picture": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64," + "A" * 30_000},
                },
            ],
        }
    ],
}


@pytest.mark.parametrize("messages", HARMLESS.values(), ids=HARMLESS.keys())
async def test_no_alarm_where_nothing_proves_it(
    gateway: RunningGateway, messages: list[dict[str, Any]]
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": LONG}}]
    answer = await gateway.chat(messages=messages, tools=tools)
    assert answer.status_code == 200
    assert HEADER not in answer.headers
    assert record(gateway, answer).truncated is None


@pytest.mark.parametrize(("context", "is_cut"), [(4_000, True), (40_000, False)])
async def test_what_fits_the_context_was_not_cut(context: int, is_cut: bool) -> None:
    """So a count that leaves out what was cached is no alarm."""
    async with (
        ScriptedBackend([{"id": "m", "context_length": context}]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        answer = await gateway.chat(messages=said(LONG, "Indeed.", "Go on"))
        assert (HEADER in answer.headers) is is_cut


async def test_a_model_that_was_just_loaded_has_nothing_cached() -> None:
    """Where nobody knows how much it can take, so that no context can be asked for."""
    async with (
        fake_backends.ollama(shown={"capabilities": ["completion"]}) as backend,
        running_gateway([backend_entry("one", backend.url, type="ollama")]) as gateway,
    ):
        answer = await gateway.chat("llama3.1:8b", messages=said(LONG, "Indeed.", "Go on"))
        assert HEADER in answer.headers


async def test_cached_tokens_that_are_told_count_as_read(backend: ScriptedBackend) -> None:
    async def beside(exchange: Exchange) -> None:
        message = {"role": "assistant", "content": "Hi"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        details = {"cached_tokens": LEAST}
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": details}
        await exchange.json(200, {"choices": [choice], "usage": usage})

    backend.behave(beside)
    async with running_gateway([backend_entry("one", backend.url)]) as gateway:
        answer = await gateway.chat(messages=said(LONG))
        assert answer.status_code == 200
        assert HEADER not in answer.headers
