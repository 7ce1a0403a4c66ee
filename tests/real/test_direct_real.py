"""Rerank on real llama.cpp servers: one that was started for it, and one that was not."""

from __future__ import annotations

from collections.abc import Callable

from tests.contract.hot.asking import error_of, post
from tests.support.gateway import backend_entry, running_gateway
from tests.support.llama import LlamaServer

ASKED = {"model": "smollm2", "query": "capital of France?", "documents": ["Paris", "a pear"]}


async def test_rerank_finds_the_server_that_was_started_for_it(
    llama_server: Callable[..., LlamaServer],
) -> None:
    entries = [
        backend_entry("chats", llama_server().url, type="llamacpp", priority=1),
        backend_entry("ranks", llama_server(rerank=True).url, type="llamacpp", priority=90),
    ]
    async with running_gateway(entries, routing={"strategy": "priority_only"}) as gateway:
        for attempts in (2, 1):
            answer = await post(gateway, ASKED, "/v1/rerank")
            assert answer.status_code == 200, answer.text
            assert sorted(one["index"] for one in answer.json()["results"]) == [0, 1]
            record = gateway.runtime.history.get(answer.headers["x-request-id"])
            assert (record.backend, len(record.attempts)) == ("ranks", attempts)
            assert record.prompt_tokens
        chat = await gateway.chat("smollm2", max_tokens=1)
        assert chat.headers["x-nexus-backend"] == "chats"
        speech = await post(gateway, {"model": "smollm2", "input": "x"}, "/v1/audio/speech")
        error_of(speech, 503, "no_available_backend")
