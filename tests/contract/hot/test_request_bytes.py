"""What a client sent is what the backend gets, byte for byte, all but values that must change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.hot.asking import CHAT, COMPLETIONS, EMBEDDINGS, post
from tests.support import fake_backends
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend, faults

ODD = (
    b' {"messages" :[ {"content":"caf\\u00e9 \xe2\x80\xa8 \\ud83d\\ude00\xf0\x9f\x98\x80",'
    b'"role":"user","x":1}],\r\n\t"model":@, "seed":12345678901234567890,"temperature":1.0e-1,'
    b'"prompt":"x","input":"x","top_p":0.10,"deep":[[{"model":"m"}],null,true],"stream":!}\n'
)
"""`@` stands for the model, `!` for whether a stream is asked for."""


def odd(model: bytes, stream: bytes = b"false") -> bytes:
    return ODD.replace(b"@", model).replace(b"!", stream)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
async def test_nothing_changes_where_nothing_must(
    gateway: RunningGateway, backend: ScriptedBackend, path: str
) -> None:
    assert (await post(gateway, odd(b'"m"'), path)).status_code == 200
    got = backend.generations[0]
    assert got.body == odd(b'"m"')
    assert got.path == path
    assert got.header("content-type") == "application/json"
    assert got.header("content-length") == str(len(got.body))


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
async def test_an_alias_changes_the_name_only(
    gateway: RunningGateway, backend: ScriptedBackend, path: str
) -> None:
    assert (await post(gateway, odd(b'"\\u006e"'), path)).status_code == 200
    assert backend.generations[0].body == odd(b'"m"')


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_stream_gets_the_wish_for_usage_and_nothing_else(
    gateway: RunningGateway, backend: ScriptedBackend, path: str
) -> None:
    assert (await post(gateway, odd(b'"m"', b"true"), path)).status_code == 200
    wish = b',"stream_options":{"include_usage":true}}\n'
    assert backend.generations[0].body == odd(b'"m"', b"true").removesuffix(b"}\n") + wish


async def test_a_client_that_wants_usage_gets_its_own_bytes_through(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    body = (
        b'{"stream_options" : {"include_usage":true, "x":1e0},' + odd(b'"m"', b"true").strip()[1:]
    )
    assert (await post(gateway, body)).status_code == 200
    assert backend.generations[0].body == body


async def test_other_stream_options_stay(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    body = b'{"stream_options" : %b ,' + odd(b'"m"', b"true").strip()[1:]
    sent = body.replace(b"%b", b'{"include_obfuscation":false,"include_usage":false}')
    assert (await post(gateway, sent)).status_code == 200
    wish = b'{"include_obfuscation":false,"include_usage":true}'
    assert backend.generations[0].body == body.replace(b"%b", wish)


async def test_a_kind_that_must_stream_is_asked_to_and_nothing_else() -> None:
    async with (
        fake_backends.llamacpp() as llama,
        running_gateway([backend_entry("llama", llama.url, type="llamacpp")]) as gateway,
    ):
        answer = await post(gateway, odd(b'"smollm2"'))
        assert answer.json()["object"] == "chat.completion"
        wish = b',"stream_options":{"include_usage":true}}\n'
        expected = odd(b'"smollm2"', b"true").removesuffix(b"}\n") + wish
        assert llama.generations[0].body == expected


async def test_a_name_that_comes_twice_comes_once_when_it_is_changed(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    twice = b'{"model":"n","messages":[{"role":"user","content":"x"}],"model":"n"}'
    assert (await post(gateway, twice)).status_code == 200
    assert backend.generations[0].body.count(b'"model"') == 1
    assert backend.generations[0].json["model"] == "m"


FIELDS: list[dict[str, Any]] = [
    {"max_tokens": -1},
    {"max_tokens": 10**40},
    {"max_tokens": "many"},
    {"temperature": -1e300, "n": 0, "seed": -(2**63)},
    {"tools": "not a list", "stop": {"x": 1}},
    {"logit_bias": {"50256": -100}, "metadata": None},
]


@pytest.mark.parametrize("fields", FIELDS)
async def test_what_routing_does_not_need_is_the_backends_to_judge(
    gateway: RunningGateway, backend: ScriptedBackend, fields: dict[str, Any]
) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user"}], **fields}).encode()
    assert (await post(gateway, body)).status_code == 200
    assert backend.generations[0].body == body


async def test_the_answer_is_the_backends_bytes(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    said = b' {"choices" : [{"x":1.50,"finish_reason":null}], "model":"m",\r\n"u":"\\u00e9"}\n'
    backend.behave(faults.raw(200, said))
    assert (await post(gateway, odd(b'"m"'))).content == said
    renamed = await post(gateway, odd(b'"n"'))
    assert renamed.content == said.replace(b'"model":"m"', b'"model":"n"')
