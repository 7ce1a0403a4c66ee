"""`POST /v1/messages/count_tokens`: how long a prompt is.

Asked is the backend that would answer, where it speaks Messages itself. Else it is reckoned here:
the header `X-Nexus-Tokens-Counted-By` says who counted: `backend`, `tokenizer` or `estimate`.
"""

from __future__ import annotations

import time

import msgspec
from quart import Quart, Response, g, request

from nexus_proxy.api.answers import json_answer, json_object
from nexus_proxy.dialects import openai
from nexus_proxy.dialects.anthropic import without_billing
from nexus_proxy.dialects.foreign import FOREIGN
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.relay.counting import counted_by_backend
from nexus_proxy.relay.headers import read_wishes
from nexus_proxy.relay.translating import outline
from nexus_proxy.routing.types import RequestFacts
from nexus_proxy.runtime import Runtime

COUNTED_BY = "X-Nexus-Tokens-Counted-By"


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the route of this module."""

    @app.post("/v1/messages/count_tokens")
    async def count_tokens() -> Response:
        asked, body = await json_object(), await request.body
        problem: InvalidRequestError | None = None
        if runtime.relay.rules.stabilise_prompts:
            asked, _ = without_billing(asked)
        try:
            encoded = msgspec.json.encode(FOREIGN[Endpoint.MESSAGES].to_chat(asked).body)
        except InvalidRequestError as error:
            problem, encoded = error, outline(asked, body)
        peek = openai.peek(Endpoint.CHAT, encoded)
        headers = {k.lower().encode(): v.encode("latin-1") for k, v in request.headers.items()}
        wishes = read_wishes(headers)
        facts = RequestFacts(
            model_asked=peek.model,
            needs=peek.needs,
            prompt_bytes=peek.prompt_bytes,
            zone=wishes.zone if g.key is None else max(wishes.zone, g.key.zone),
            strict=wishes.strict,
            now=time.monotonic(),
        )
        tokens = await counted_by_backend(runtime.relay, facts, body, headers, g.key)
        if tokens is not None:
            return _told(tokens, "backend")
        if problem is not None:
            raise problem
        count = runtime.relay.billing.count(encoded, peek.model, peek.prompt_bytes)
        return _told(count.tokens, count.source.value)


def _told(tokens: int, counted_by: str) -> Response:
    answer = json_answer({"input_tokens": tokens})
    answer.headers[COUNTED_BY] = counted_by
    return answer
