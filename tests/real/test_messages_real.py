"""The official `anthropic` SDK, through Nexus, to a real llama.cpp: a tool loop, streaming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest

import nexus_proxy.demo
from tests.support.gateway import backend_entry, running_gateway
from tests.support.llama import LlamaServer

pytestmark = pytest.mark.real

TEMPLATE = Path(nexus_proxy.demo.__file__).with_name("chat.jinja").read_text(encoding="utf-8")
WEATHER: Any = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


async def test_a_tool_loop(llama_server: Callable[..., LlamaServer]) -> None:
    llama = llama_server(chat_template=TEMPLATE)
    question: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    # Prefilled: a model this small would talk first and forget to call.
    turns = [*question, {"role": "assistant", "content": "<tool_call>\n"}]
    asked: dict[str, Any] = {"max_tokens": 60, "tools": [WEATHER]}
    asked["extra_body"] = {"temperature": 0}  # of the wire, and not of the SDK any more
    async with running_gateway([backend_entry("llama", llama.url, type="llamacpp")]) as gateway:
        model = (await gateway.client.get("/v1/models")).json()["data"][0]["id"]
        async with (
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any", max_retries=0) as claude,
            claude.messages.stream(
                model=model, messages=turns, tool_choice={"type": "any"}, **asked
            ) as stream,
        ):
            answer = await stream.get_final_message()
            assert answer.stop_reason == "tool_use"
            call: Any = answer.content[-1]
            assert (call.type, call.name) == ("tool_use", "get_weather")
            assert answer.usage.input_tokens > 10
            assert (
                answer.usage.output_tokens > 5
            )  # a stream of llama.cpp tells it in `timings` alone
            result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
            more: list[Any] = [
                *question,
                {"role": "assistant", "content": [call.model_dump()]},
                {"role": "user", "content": [result]},
            ]
            second = await claude.messages.create(
                model=model,
                messages=more,
                **asked,
            )
    assert second.content
    assert second.usage.output_tokens > 0
