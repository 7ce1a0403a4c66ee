"""The names under which models can be asked for, and what the answers tell of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.hot.asking import CHAT, COMPLETIONS, EMBEDDINGS, body_for, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

ALIASES = {
    "fast": "qwen3",
    "gpt-*": "fast",
    "claude-*-haiku*": "gpt-4o-mini",
    "org/*": "org/model:v1",
    "dangling": "nowhere",
    'quote"d\\': "qwen3",
    "smörgås": "qwen3",
}
MODELS = ["qwen3:latest", "org/model:v1", "plain", "left/plain"]


@pytest.fixture
async def left() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(MODELS, name="left") as one:
        yield one


@pytest.fixture
async def right() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["plain", "only-right"], name="right") as one:
        yield one


@pytest.fixture
async def both(left: ScriptedBackend, right: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    entries = [
        backend_entry("left", left.url, priority=1),
        backend_entry("right", right.url, priority=90),
    ]
    async with running_gateway(
        entries, routing={"aliases": ALIASES, "strategy": "priority_only"}
    ) as running:
        yield running


ASKED = [
    ("qwen3:latest", "qwen3:latest"),
    ("qwen3", "qwen3:latest"),
    ("plain:latest", "plain"),
    ("fast", "qwen3:latest"),
    ("gpt-5", "qwen3:latest"),
    ("claude-3-5-haiku-20241022", "qwen3:latest"),
    ("org/model:v1", "org/model:v1"),
    ("org/anything", "org/model:v1"),
    ("left/qwen3", "qwen3:latest"),
    ('quote"d\\', "qwen3:latest"),
    ("smörgås", "qwen3:latest"),
]


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
@pytest.mark.parametrize(("asked", "served"), ASKED)
async def test_a_name_leads_to_its_model_and_comes_back(
    both: RunningGateway, left: ScriptedBackend, path: str, asked: str, served: str
) -> None:
    answer = await post(both, body_for(path, asked), path)
    assert answer.status_code == 200
    assert answer.json()["model"] == asked
    assert answer.headers["x-nexus-model"] == served
    assert left.generations[0].json["model"] == served


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_each_chunk_of_a_stream_carries_the_name_asked_for(
    both: RunningGateway, path: str
) -> None:
    answer = await post(both, body_for(path, "smörgås", stream=True), path)
    assert answer.headers["x-nexus-model"] == "qwen3:latest"
    assert b"qwen3:latest" not in answer.content
    chunks = answer.text.count("data: {")
    assert answer.text.count('"model":"smörgås"') == chunks > 3


async def test_a_backend_can_be_named(
    both: RunningGateway, left: ScriptedBackend, right: ScriptedBackend
) -> None:
    answer = await post(both, body_for(CHAT, "right/plain"))
    assert answer.headers["x-nexus-backend"] == "right"
    assert answer.json()["model"] == "right/plain"
    assert right.generations[0].json["model"] == "plain"
    assert not left.generations


async def test_a_listed_id_beats_the_reading_as_a_backends_name(
    both: RunningGateway, left: ScriptedBackend
) -> None:
    answer = await post(both, body_for(CHAT, "left/plain"))
    assert left.generations[0].json["model"] == "left/plain"
    assert answer.headers["x-nexus-model"] == "left/plain"


async def test_a_named_backend_is_the_only_one_tried(
    both: RunningGateway, left: ScriptedBackend, right: ScriptedBackend
) -> None:
    await both.runtime.run_command("backend.drain", {"backend": "right"})
    answer = await post(both, body_for(CHAT, "right/plain"))
    error = error_of(answer, 503, "no_available_backend")
    assert [r["backend"] for r in error["context"]["rejections"]] == ["right"]
    assert not left.generations


async def test_a_pin_comes_first_and_others_step_in(
    both: RunningGateway, left: ScriptedBackend, right: ScriptedBackend
) -> None:
    await both.runtime.run_command("backend.pin", {"model": "plain", "backend": "right"})
    answer = await post(both, body_for(CHAT, "plain"))
    assert answer.headers["x-nexus-backend"] == "right"
    assert answer.headers["x-nexus-route-reason"] == "pinned"
    await both.runtime.run_command("backend.drain", {"backend": "right"})
    answer = await post(both, body_for(CHAT, "plain"))
    assert answer.headers["x-nexus-backend"] == "left"
    assert answer.headers["x-nexus-route-reason"] == "capability-match"


UNKNOWN: list[tuple[str, str]] = [
    ("qwen4", "qwen3"),
    ("plane", "plain"),
    ("right/qwen3", "qwen3"),
    ("dangling", "an alias for 'nowhere'"),
    ("\x1b[31mred\r\n", "There are"),
]


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("asked", "hint"), UNKNOWN)
async def test_an_unknown_name_is_404_at_once_with_the_nearest(
    both: RunningGateway, path: str, stream: bool, asked: str, hint: str
) -> None:
    answer = await post(both, body_for(path, asked, stream=stream), path)
    error = error_of(answer, 404, "model_not_found")
    assert error["param"] == "model"
    assert error["type"] == "invalid_request_error"
    assert hint in error["message"]
    assert "\x1b" not in error["message"]


async def test_without_any_model_the_error_says_where_to_look() -> None:
    async with running_gateway() as empty:
        error = error_of(await post(empty, body_for(CHAT)), 404, "model_not_found")
        assert "nexus doctor" in error["message"]


async def test_a_name_of_absurd_length_is_refused(both: RunningGateway) -> None:
    error = error_of(await post(both, body_for(CHAT, "m" * 100_000)), 400, "invalid_request")
    assert error["param"] == "model"
    assert len(error["message"]) < 200


async def test_a_fallback_answers_under_the_name_asked_for(
    left: ScriptedBackend, right: ScriptedBackend
) -> None:
    routing: Any = {"fallbacks": {"plain": ["missing", "only-right"]}, "aliases": {"p": "plain"}}
    right.models = ["only-right"]
    async with running_gateway(
        [backend_entry("left", left.url), backend_entry("right", right.url)], routing=routing
    ) as gateway:
        await gateway.runtime.run_command("backend.drain", {"backend": "left"})
        answer = await post(gateway, body_for(CHAT, "p"))
        assert answer.json()["model"] == "p"
        assert answer.headers["x-nexus-fallback-model"] == "only-right"
        assert answer.headers["x-nexus-model"] == "only-right"
        assert answer.headers["x-nexus-route-reason"] == "fallback"
        strict = await post(gateway, body_for(CHAT, "p"), headers={"X-Nexus-Strict": "true"})
        error_of(strict, 503, "no_available_backend")
        lax = await post(gateway, body_for(CHAT, "p"), headers={"X-Nexus-Strict": "false"})
        assert lax.status_code == 200


async def test_flexible_takes_any_other_model_of_the_tier(
    left: ScriptedBackend, right: ScriptedBackend
) -> None:
    left.models, right.models = ["plain"], ["only-right"]
    for tier, status in ((2, 200), (1, 503)):
        entries = [
            backend_entry("left", left.url, tier=2),
            backend_entry("right", right.url, tier=tier),
        ]
        async with running_gateway(entries) as gateway:
            await gateway.runtime.run_command("backend.drain", {"backend": "left"})
            headers = {"X-Nexus-Flexible": "true"}
            answer = await post(gateway, body_for(CHAT, "plain"), headers=headers)
            assert answer.status_code == status
            if status == 200:
                assert answer.headers["x-nexus-fallback-model"] == "only-right"
            without = await post(gateway, body_for(CHAT, "plain"))
            error_of(without, 503, "no_available_backend")
