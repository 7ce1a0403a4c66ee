"""Nobody is asked for what it says it cannot do; what nobody says anything about is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.hot.asking import CHAT, COMPLETIONS, EMBEDDINGS, body_for, error_of, post
from tests.support import fake_backends
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend, faults

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SEES: Any = {"messages": [{"role": "user", "content": [IMAGE]}]}
TOOLS: Any = {"tools": [{"type": "function", "function": {"name": "f"}}]}
EMBEDDER = {"id": "m", "capabilities": ["embedding"]}


@pytest.mark.parametrize(("need", "word"), [(SEES, "vision"), (TOOLS, "tools")])
async def test_who_says_it_cannot_is_passed_over(need: dict[str, Any], word: str) -> None:
    async with (
        fake_backends.llamacpp() as llama,
        ScriptedBackend(["smollm2"], name="other") as other,
        running_gateway(
            [
                backend_entry("llama", llama.url, type="llamacpp", priority=1),
                backend_entry("other", other.url, priority=90),
            ],
            routing={"strategy": "priority_only"},
        ) as gateway,
    ):
        plain = await post(gateway, body_for(CHAT, "smollm2"))
        assert plain.headers["x-nexus-backend"] == "llama"
        answer = await post(gateway, body_for(CHAT, "smollm2", **need))
        assert answer.headers["x-nexus-backend"] == "other"
        await gateway.runtime.run_command("backend.drain", {"backend": "other"})
        error = error_of(
            await post(gateway, body_for(CHAT, "smollm2", **need)), 503, "no_available_backend"
        )
        assert f"smollm2 cannot do {word}" in error["message"]
        assert len(llama.generations) == 1


async def test_an_embedding_model_is_not_asked_to_chat() -> None:
    async with (
        ScriptedBackend([EMBEDDER], name="one") as one,
        running_gateway([backend_entry("one", one.url)]) as gateway,
    ):
        assert (await post(gateway, body_for(EMBEDDINGS), EMBEDDINGS)).status_code == 200
        for path in (CHAT, COMPLETIONS):
            answer = await post(gateway, body_for(path), path)
            error_of(answer, 503, "no_available_backend")
            assert answer.headers["x-should-retry"] == "false", "waiting cannot help"
            assert "retry-after" not in answer.headers
        assert len(one.generations) == 1


async def test_who_finds_out_that_it_cannot_is_not_blamed() -> None:
    """llama.cpp answers 500 to a picture that its model cannot see, and 501 to embeddings."""
    refusal = faults.status(500, "image input is not supported - hint: mmproj")
    async with (
        ScriptedBackend(name="blind") as blind,
        ScriptedBackend(name="sees") as sees,
        running_gateway(
            [
                backend_entry("blind", blind.url, type="llamacpp", priority=1),
                backend_entry("sees", sees.url, priority=90),
            ],
            wait_up=False,
            health_check={"enabled": False},
            routing={"strategy": "priority_only"},
        ) as gateway,
    ):
        blind.routes["/props"] = {"role": "unknown"}
        await gateway.until(lambda: len(gateway.runtime.registry.serving("m")) == 2)
        blind.behave(refusal)
        answer = await post(gateway, body_for(CHAT, **SEES))
        assert answer.headers["x-nexus-backend"] == "sees"
        await gateway.runtime.run_command("backend.drain", {"backend": "sees"})
        told = await post(gateway, body_for(CHAT, **SEES))
        assert (told.status_code, len(blind.generations)) == (500, 2), "it is not asked again"
        assert "not supported" in told.json()["error"]["message"]
        assert gateway.runtime.registry.get("blind").failures == 0


async def test_a_prompt_that_fits_nowhere_is_refused_without_asking() -> None:
    async with (
        ScriptedBackend([{"id": "m", "context_length": 1000}], name="small") as small,
        ScriptedBackend([{"id": "m", "context_length": 50_000}], name="large") as large,
        running_gateway(
            [
                backend_entry("small", small.url, priority=1),
                backend_entry("large", large.url, priority=90),
            ],
            routing={"strategy": "priority_only"},
        ) as gateway,
    ):
        long: Any = [{"role": "user", "content": "word " * 10_000}]
        answer = await post(gateway, body_for(CHAT, messages=long))
        assert answer.headers["x-nexus-backend"] == "large"
        longer: Any = [{"role": "user", "content": "word " * 100_000}]
        answer = await post(gateway, body_for(CHAT, messages=longer))
        error = error_of(answer, 400, "context_length_exceeded")
        assert error["param"] == "messages"
        assert "its context of" in error["message"]
        assert not small.generations
        assert len(large.generations) == 1


async def test_a_set_up_that_tells_nothing_routes_everything() -> None:
    async with (
        ScriptedBackend(name="silent") as silent,
        running_gateway([backend_entry("silent", silent.url)]) as gateway,
    ):
        for path in (CHAT, COMPLETIONS, EMBEDDINGS):
            assert (await post(gateway, body_for(path), path)).status_code == 200
        schema: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
        everything = body_for(CHAT, response_format=schema, **SEES, **TOOLS)
        assert (await post(gateway, everything)).status_code == 200
