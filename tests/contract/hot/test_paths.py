"""Paths as people write them, methods that are none, and routes that do not exist."""

from __future__ import annotations

import json

import openai
import pytest

from tests.contract.hot.asking import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    body_for,
    error_of,
    exchange,
    head_of,
    parsed,
    request_of,
)
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend

TOLERATED = [
    "/v1/chat/completions/",
    "//v1/chat/completions",
    "/v1//chat///completions//",
    "/v1/v1/chat/completions",
    "/v1/v1/v1/chat/completions",
    "/chat/completions",
    "/chat/completions/",
    "/v1/chat/completions?beta=true",
    "/v1/chat/completions/?a=b&c=%2F",
    "/v1/chat%2Fcompletions",
    "/%76%31/chat/completions",
]


@pytest.mark.parametrize("target", TOLERATED)
@pytest.mark.parametrize("framing", ["content_length", "transfer_encoding"])
async def test_a_path_is_read_as_it_was_meant_and_never_redirected(
    gateway: RunningGateway, backend: ScriptedBackend, target: str, framing: str
) -> None:
    """By the lane (a content length) and by Hypercorn (chunks) alike."""
    content = json.dumps(body_for(CHAT)).encode()
    if framing == "content_length":
        asked = request_of(content, target)
    else:
        head = head_of(target=target, content_type="application/json", transfer_encoding="chunked")
        asked = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
    answer = parsed(await exchange(gateway, asked))
    assert answer.status_code == 200
    assert backend.generations[0].path == CHAT
    assert backend.generations[0].query == ""
    assert backend.generations[0].body == content


@pytest.mark.parametrize(
    ("target", "path"), [("/completions", COMPLETIONS), ("/v1/v1/embeddings/", EMBEDDINGS)]
)
async def test_so_are_the_others(
    gateway: RunningGateway, backend: ScriptedBackend, target: str, path: str
) -> None:
    content = json.dumps(body_for(path)).encode()
    assert parsed(await exchange(gateway, request_of(content, target))).status_code == 200
    assert backend.generations[0].path == path


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1", "//"])
async def test_a_base_url_may_end_anyhow(gateway: RunningGateway, prefix: str) -> None:
    async with openai.AsyncOpenAI(
        base_url=gateway.url + prefix, api_key="x", max_retries=0
    ) as client:
        answer = await client.embeddings.create(model="m", input="x")
        assert len(answer.data) == 1
        assert [model.id async for model in client.models.list()] == ["m", "n"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "QUERY"])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS, "/chat/completions/"])
async def test_another_method_is_405_and_told_which_would_do(
    gateway: RunningGateway, backend: ScriptedBackend, method: str, path: str
) -> None:
    body = b'{"model":"m"}'
    head = head_of(method, path, content_type="application/json", content_length=str(len(body)))
    answer = parsed(await exchange(gateway, head + body))
    assert answer.headers["allow"] == "POST"
    assert not backend.generations
    if method == "HEAD":
        assert (answer.status_code, answer.body) == (405, b"")
    else:
        error_of(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/chat/completions",
        "/v1/chat",
        "/v1/chat/completions/extra",
        "/v1/../v1/chat/completions",
        "/V1/Chat/Completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions;x=y",
        "/.env",
        "/%2e%2e/etc/passwd",
        "/v1/" + "x" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_route_is_404_and_names_those_there_are(
    gateway: RunningGateway, path: str, method: str
) -> None:
    answer = parsed(
        await exchange(
            gateway,
            head_of(method, path, content_type="application/json", content_length="2"),
            b"{}",
        )
    )
    error = error_of(answer, 404, "unknown_route")
    assert CHAT in error["message"]
    assert len(error["message"]) < 1000
    assert "location" not in answer.headers
