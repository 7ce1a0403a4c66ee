"""Whatever goes wrong on a route that is not hot is JSON in OpenAI's shape."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from nexus_proxy.commands import BY_NAME
from tests.support.gateway import running_gateway


def error_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    assert "x-request-id" in answer.headers
    assert "x-nexus-node" in answer.headers
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    return error


async def test_an_unknown_path_is_404_and_says_what_there_is() -> None:
    async with running_gateway() as gateway:
        error = error_of(answer := await gateway.client.get("/v2/nothing"))
    assert answer.status_code == 404
    assert error["code"] == "unknown_route"
    assert "/v1/chat/completions" in error["message"]
    assert "/v1/models/{model}" in error["message"]


async def test_an_ollama_client_that_pulls_a_model_is_told_whom_to_ask() -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.post("/api/pull", json={"model": "m"})
    assert answer.status_code == 404
    assert "OLLAMA_HOST" in answer.json()["error"]


async def test_a_wrong_method_is_405_with_the_right_ones() -> None:
    async with running_gateway() as gateway:
        error = error_of(answer := await gateway.client.delete("/v1/models"))
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert error["code"] == "method_not_allowed"


async def test_a_body_over_the_limit_is_413_on_any_path_and_is_read_to_its_end() -> None:
    async with running_gateway(server={"max_body_mb": 1}) as gateway:
        for path in ("/v1/nonsense", "/nexus/v1/route"):
            answer = await gateway.client.post(path, content=b"x" * (3 << 20))
            assert answer.status_code == 413
            error = error_of(answer)
            assert error["code"] == "request_too_large"
            assert "server.max_body_mb" in error["message"]


async def test_a_large_body_to_an_unknown_path_gets_its_404() -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.post("/v1/nonsense", content=b"x" * (5 << 20))
    assert answer.status_code == 404


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_management_takes_json_only(content_type: str) -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.post(
            "/nexus/v1/route", content=b'{"model": "m"}', headers={"content-type": content_type}
        )
    assert answer.status_code == 415
    assert error_of(answer)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"text"', b"\xff\xfe"])
async def test_a_body_that_is_no_json_object_is_400(body: bytes) -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.post(
            "/nexus/v1/route", content=body, headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_request"


async def test_a_crash_is_500_without_a_traceback_and_logged_with_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash(*_arguments: object) -> str:
        raise RuntimeError("secret detail")

    command = BY_NAME["backend.drain"]
    monkeypatch.setattr("nexus_proxy.runtime.Runtime.consequence", crash)
    async with running_gateway() as gateway:
        answer = await gateway.client.post(
            f"/nexus/v1/commands/{command.name}/consequence", json={"backend": "x"}
        )
        lines = [line for line in gateway.runtime.logs.ring.lines if line.level == "error"]
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal_error"
    assert "secret detail" not in answer.text
    assert any("RuntimeError: secret detail" in line.message for line in lines)
    assert capfd.readouterr().err == "", "Quart must not log beside the gateway's own handlers"


async def test_a_websocket_is_refused_like_any_unknown_route() -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.get(
            "/v1/realtime",
            headers={
                "connection": "Upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
        failed = [line for line in gateway.runtime.logs.ring.lines if line.level == "error"]
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_route"
    assert failed == []


async def test_quart_adds_no_handler_of_its_own() -> None:
    async with running_gateway() as gateway:
        await gateway.client.get("/health")
        handlers = logging.getLogger("nexus_proxy.api.app").handlers
    assert all(isinstance(handler, logging.NullHandler) for handler in handlers)


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("/v1/chat/completions", 415, ["x-request-id"]),
        ("/v1/responses", 415, ["x-request-id"]),
        ("/api/chat", 400, ["x-request-id"]),  # as Ollama, it reads JSON whatever it is called
        ("/v1/messages", 415, ["x-request-id", "request-id"]),
    ],
)
async def test_a_refused_request_has_its_id_once_by_each_name(
    path: str, status: int, named: list[str]
) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with running_gateway() as gateway:
        answer = await gateway.client.post(path, content=b"a=b", headers=form)
    assert answer.status_code == status
    ids = [(name, value) for name, value in answer.headers.multi_items() if "request-id" in name]
    assert [name for name, _ in ids] == named
    assert len({value for _, value in ids}) == 1
