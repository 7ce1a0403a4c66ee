"""Behaviours that are wrong from the first byte on. Each is an async function of an `Exchange`,
or makes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.scripted.answers import SSE_HEADERS
from tests.support.scripted.payloads import Content
from tests.support.scripted.wire import Behaviour, Exchange, encode

HTML = b"<!doctype html><html><body><h1>It works!</h1></body></html>"


async def hang(exchange: Exchange) -> None:
    """Take the request and never say a byte."""
    await exchange.silence()


async def hang_after_headers(exchange: Exchange) -> None:
    """Send the headers of a good answer and nothing more."""
    await exchange.write(exchange.head(200, _promising(exchange)))
    await exchange.silence()


async def reset_before_headers(exchange: Exchange) -> None:
    exchange.reset()


async def reset_after_headers(exchange: Exchange) -> None:
    await exchange.write(exchange.head(200, _promising(exchange)))
    exchange.reset()


async def close_before_headers(exchange: Exchange) -> None:
    """FIN instead of an answer, as a server does whose keep-alive ran out."""
    exchange.close()


def raw(
    status: int,
    body: bytes,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Behaviour:
    """Answer exactly this, whatever was asked."""

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(status, body, content_type, headers)

    return answer


def status(
    code: int,
    message: str = "no",
    *,
    type: str = "server_error",
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Behaviour:
    """Answer an error in OpenAI's shape. Put `retry-after` or `retry-after-ms` into `headers`."""
    error = {"message": message, "type": type, "param": None, "code": code, **fields}
    return raw(code, encode({"error": error}), headers=headers)


def lying_length(by: int) -> Behaviour:
    """Announce a `content-length` that is `by` bytes off, send the good answer and close."""

    async def answer(exchange: Exchange) -> None:
        body = _body(exchange)
        kind = _promising(exchange)["content-type"]
        headers = {"content-type": kind, "content-length": str(len(body) + by)}
        await exchange.write(exchange.head(200, headers) + body)
        exchange.close()

    return answer


async def mislabelled(exchange: Exchange) -> None:
    """A good answer whose content type is `text/plain`."""
    await exchange.respond(200, _body(exchange), "text/plain")


html = raw(200, HTML, "text/html; charset=utf-8")
garbage = raw(200, b"\x00\xff{not json")
error_with_200 = raw(200, encode({"error": "Unexpected endpoint or method. (POST /v1/x)"}))
"""LM Studio's answer to a path that it does not know."""
loading = status(503, "Loading model", type="unavailable_error")
"""llama.cpp while it starts."""
router_lost_child = raw(500, b"proxy error: Failed to read connection", "text/plain")
"""llama.cpp's router when the model's process was killed."""
unauthorized = status(401, "Invalid API Key", type="authentication_error")
model_missing = status(404, "The model `m` does not exist.", type="NotFoundError")
overflow_llamacpp = status(
    400,
    "request (6031 tokens) exceeds the available context size (2048 tokens), try increasing it",
    type="exceed_context_size_error",
    n_prompt_tokens=6031,
    n_ctx=2048,
)
overflow_vllm = status(
    400,
    "This model's maximum context length is 2048 tokens. However, your prompt contains at least "
    "2049 input tokens. Please reduce the length of the input prompt.",
    type="BadRequestError",
    param="input_tokens",
)


def _promising(exchange: Exchange) -> dict[str, str]:
    if exchange.request.streams:
        return {**SSE_HEADERS, "transfer-encoding": "chunked"}
    return {"content-type": "application/json", "content-length": "512"}


def _body(exchange: Exchange) -> bytes:
    request, content = exchange.request, Content()
    if request.streams:
        return b"".join(content.events(request, exchange.name))
    return encode(content.whole(request, exchange.name))
