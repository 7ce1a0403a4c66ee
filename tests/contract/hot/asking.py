"""Asking a gateway over plain HTTP or a bare socket, and what each of its errors must look like."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.gateway import RunningGateway

CLIENT_KEY = "sk-client-0123456789"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
HELLO: list[Any] = [{"role": "user", "content": "hi"}]


def body_for(path: str, model: str = "m", **more: Any) -> dict[str, Any]:
    """A short request for a hot path."""
    prompts: dict[str, dict[str, Any]] = {
        CHAT: {"messages": HELLO},
        COMPLETIONS: {"prompt": "hi"},
        EMBEDDINGS: {"input": "hi"},
    }
    return {"model": model, **prompts[path], **more}


async def post(
    gateway: RunningGateway,
    content: bytes | dict[str, Any],
    path: str = CHAT,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """POST these bytes, or this value, as JSON."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await gateway.client.post(
        path, content=data, headers={"content-type": "application/json", **(headers or {})}
    )


def error_of(
    answer: httpx.Response | RawAnswer, status: int, code: str | int | None
) -> dict[str, Any]:
    """The error in an answer, which must be a whole one in OpenAI's shape."""
    body = answer.content if isinstance(answer, httpx.Response) else answer.body
    told: dict[str, Any] = json.loads(body)
    assert list(told) == ["error"], told
    error: dict[str, Any] = told["error"]
    assert error.keys() >= {"message", "type", "param", "code"}
    assert (answer.status_code, error["code"]) == (status, code), error
    assert error["message"]
    assert error["type"]
    headers = answer.headers
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    assert headers["x-request-id"]
    assert headers["x-nexus-node"]
    return error


@dataclass
class RawAnswer:
    """An answer as it came over a bare socket. Header names are lower case."""

    status_code: int
    headers: dict[str, str]
    body: bytes
    twice: list[str] = field(default_factory=list)
    """Names of headers that came more than once."""


def parsed(raw: bytes) -> RawAnswer:
    """One HTTP/1.1 answer with a content length, or one that ends with the connection."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [(n.strip().lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    return RawAnswer(int(status.split()[1]), dict(pairs), body, twice)


async def exchange(gateway: RunningGateway, *parts: bytes, end: bool = False) -> bytes:
    """Send bytes over a connection of its own, and read until the gateway closes it.

    `end` closes our sending side. Fails when the gateway is not done within 10 s.
    """
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(10.0):
            for part in parts:
                writer.write(part)
                await writer.drain()
            if end:
                writer.write_eof()
            return await reader.read(-1)
    finally:
        writer.close()


def head_of(
    method: str = "POST",
    target: str = CHAT,
    version: str = "1.1",
    host: str | None = "localhost",
    close: bool = True,
    **headers: str,
) -> bytes:
    """A request head. Underscores in names of headers become dashes."""
    lines = [f"{method} {target} HTTP/{version}"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += ["Connection: close"] if close else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def request_of(content: bytes, target: str = CHAT, **more: Any) -> bytes:
    """A whole POST with a content length."""
    given = {"content_type": "application/json", "content_length": str(len(content)), **more}
    return head_of(target=target, **given) + content
