"""`POST /v1/messages/count_tokens`: how long a prompt is, as far as can be said here.

The header `X-Nexus-Tokens-Counted-By` says who counted: `tokenizer` or `estimate`.
"""

from __future__ import annotations

import msgspec
from quart import Quart, Response

from nexus_proxy.api.answers import json_answer, json_object
from nexus_proxy.dialects import openai
from nexus_proxy.dialects.anthropic import without_billing
from nexus_proxy.dialects.foreign import FOREIGN
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.runtime import Runtime


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the route of this module."""

    @app.post("/v1/messages/count_tokens")
    async def count_tokens() -> Response:
        body = await json_object()
        if runtime.relay.rules.stabilise_prompts:
            body, _ = without_billing(body)
        chat = FOREIGN[Endpoint.MESSAGES].to_chat(body).body
        encoded = msgspec.json.encode(chat)
        prompt_bytes = openai.peek(Endpoint.CHAT, encoded).prompt_bytes
        count = runtime.relay.till.count(encoded, chat["model"], prompt_bytes)
        answer = json_answer({"input_tokens": count.tokens})
        answer.headers["X-Nexus-Tokens-Counted-By"] = count.source.value
        return answer
