"""Bodies that are wrong: each a clear error in JSON, nothing sent on, nothing lost."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.hot.asking import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    HELLO,
    body_for,
    error_of,
    post,
)
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend

BAD: list[tuple[str, bytes, str]] = [
    ("empty", b"", "the body is empty"),
    ("blank", b" \r\n\t", "the body is empty"),
    ("cut off", b'{"model":"m","messages":[', "not valid JSON"),
    ("trailing", b'{"model":"m"} x', "not valid JSON"),
    ("python", b"{'model': 'm'}", "not valid JSON"),
    ("comments", b'{"model":"m" /* x */}', "not valid JSON"),
    ("not a number", b'{"model":"m","messages":[{}],"temperature":NaN}', "not valid JSON"),
    ("a list", b'["m"]', "Expected `object`, got `array`"),
    ("a string", b'"m"', "Expected `object`, got `str`"),
    ("null", b"null", "Expected `object`, got `null`"),
    ("no model", b'{"messages":[{}],"input":"x"}', "names no model"),
    ("empty model", b'{"model":"","messages":[{}],"input":"x"}', "names no model"),
    ("a number as model", b'{"model":7}', "$.model"),
    ("utf-16", '{"model":"m"}'.encode("utf-16"), "not valid JSON"),
    ("latin-1", b'{"model":"caf\xe9"}', "not valid JSON"),
    ("half a surrogate", b'{"model":"\\ud800"}', "not valid JSON"),
    ("deep", b'{"model":"m","x":' + b"[" * 200_000, "nested too deeply"),
    ("deep, closed", b'{"x":' + b'{"x":' * 50_000 + b"1" + b"}" * 50_001, "nested too deeply"),
]


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
@pytest.mark.parametrize(("body", "says"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
async def test_a_body_that_is_no_request(
    gateway: RunningGateway, backend: ScriptedBackend, path: str, body: bytes, says: str
) -> None:
    error = error_of(await post(gateway, body, path), 400, "invalid_request")
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"
    assert not backend.generations
    assert gateway.runtime.history.in_flight == 0
    assert (await post(gateway, body_for(path), path)).status_code == 200


MISSING: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {}, "messages"),
    (CHAT, {"messages": None}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (EMBEDDINGS, {}, "input"),
    (EMBEDDINGS, {"input": ""}, "input"),
    (EMBEDDINGS, {"input": []}, "input"),
]


@pytest.mark.parametrize(("path", "fields", "param"), MISSING)
async def test_what_is_missing_is_named(
    gateway: RunningGateway, path: str, fields: dict[str, Any], param: str
) -> None:
    answer = await post(gateway, {"model": "m", **fields}, path)
    assert error_of(answer, 400, "invalid_request")["param"] == param


@pytest.mark.parametrize(
    ("field", "value"),
    [("messages", "hi"), ("messages", ["hi"]), ("stream", "yes"), ("stream_options", 1)],
)
async def test_what_routing_must_read_has_to_be_readable(
    gateway: RunningGateway, field: str, value: Any
) -> None:
    answer = await post(gateway, body_for(CHAT, **{field: value}))
    assert f"$.{field}" in error_of(answer, 400, "invalid_request")["message"]


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/octet-stream",
        "image/png",
        ";",
    ],
)
async def test_another_content_type_is_refused(
    gateway: RunningGateway, backend: ScriptedBackend, kind: str
) -> None:
    answer = await post(gateway, body_for(CHAT), headers={"content-type": kind})
    if kind == ";":
        assert answer.status_code == 200, "no type at all is believed to be JSON"
        return
    error = error_of(answer, 415, "unsupported_media_type")
    assert "application/json" in error["message"]
    assert not backend.generations


@pytest.mark.parametrize(
    "kind",
    ["application/json; charset=utf-8", "Application/JSON", "text/plain", "application/x+json"],
)
async def test_what_old_clients_say_of_json_is_taken(gateway: RunningGateway, kind: str) -> None:
    answer = await post(gateway, body_for(CHAT), headers={"content-type": kind})
    assert answer.status_code == 200


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "GZIP": gzip.compress,
}


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_packed_body_is_unpacked(
    gateway: RunningGateway, backend: ScriptedBackend, encoding: str
) -> None:
    body = json.dumps(body_for(CHAT)).encode()
    headers = {"content-encoding": encoding}
    assert (await post(gateway, PACKERS[encoding](body), headers=headers)).status_code == 200
    assert backend.generations[0].body == body
    assert backend.generations[0].header("content-encoding") is None


# Without a time in its header: xdist's workers must collect the same ids.
PACKED = gzip.compress(json.dumps({"model": "m", "messages": HELLO}).encode(), mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"no gzip"),
        ("gzip", PACKED[:-9]),
        ("gzip", PACKED + PACKED),
        ("gzip", PACKED + b"x"),
        ("deflate", PACKED),
        ("br", b"x"),
        ("zstd", b"x"),
        ("gzip, gzip", gzip.compress(PACKED, mtime=0)),
    ],
)
async def test_what_cannot_be_unpacked_is_refused(
    gateway: RunningGateway, backend: ScriptedBackend, encoding: str, body: bytes
) -> None:
    answer = await post(gateway, body, headers={"content-encoding": encoding})
    error_of(answer, 415, "unsupported_media_type")
    assert not backend.generations


async def test_an_error_of_one_request_leaves_its_connection_usable(
    gateway: RunningGateway,
) -> None:
    for _ in range(3):
        for body in (b"{", b""):
            error_of(await post(gateway, body), 400, "invalid_request")
        assert (await post(gateway, body_for(CHAT))).status_code == 200
