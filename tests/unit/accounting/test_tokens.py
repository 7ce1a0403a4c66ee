"""Counts against the real tokenizer, on texts that the weights were not fitted to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import toktok
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.accounting.tokens import (
    IMAGE_TOKENS,
    Count,
    CountedBy,
    TokenCounter,
)

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
CODE = (ROOT / "nexus_proxy/registry/registry.py").read_text()
TOML = (ROOT / "pyproject.toml").read_text()
RECORDS = json.dumps(
    [{"id": n, "name": f"user-{n * 7919}", "score": n / 7, "tags": ["a", "b"]} for n in range(120)]
)
CHINESE = (
    "网关把本地和云端的模型放在同一个地址后面。请求到来时，它先检查隐私区域，再检查预算，"
    "然后选择负载最低的后端。如果后端在第一个字节之前失败，请求会转到下一个后端，"
    "客户端不会察觉。每一次决定都有记录，可以在终端里查看原因。模型正在加载时，"
    "网关会发送注释，让连接保持打开。" * 12
)
RUSSIAN = (
    "Шлюз собирает локальные и облачные модели под одним адресом. Запрос сначала проверяется на "
    "приватность, затем на бюджет, и только потом выбирается свободный сервер. Если сервер "
    "отказал до первого байта, запрос уходит к следующему, и клиент этого не замечает. " * 12
)
GERMAN = (
    "Das Gateway fasst lokale und entfernte Modelle unter einer Adresse zusammen. Jede Anfrage "
    "wird zuerst auf ihre Schutzzone geprüft, dann auf das Budget, und erst danach wählt es den "
    "Rechner, der am wenigsten zu tun hat. Fällt er vor dem ersten Byte aus, übernimmt der "
    "nächste. " * 12
)
TEXTS = {
    "english": README,
    "python": CODE,
    "toml": TOML,
    "json": RECORDS,
    "chinese": CHINESE,
    "russian": RUSSIAN,
    "german": GERMAN,
}


@pytest.fixture(scope="module")
def exact() -> TokenCounter:
    counter = TokenCounter()
    assert counter.load()
    return counter


def truth(text: str, encoding: str = "o200k_base") -> int:
    return int(toktok.batch_count([text], encoding, threads=1)[0])


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("model", "encoding"), [("gpt-4o-2024-08-06", "o200k_base"), ("gpt-4-0613", "cl100k_base")]
)
def test_an_estimate_is_near_the_truth(name: str, model: str, encoding: str) -> None:
    text = TEXTS[name]
    count, real = TokenCounter().count(text.encode(), model), truth(text, encoding)
    assert count.source is CountedBy.ESTIMATE
    assert count.tokens == pytest.approx(real, rel=0.25)
    assert count.at_most >= real


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-mini", "o4-mini", "openai/gpt-oss-20b"])
def test_the_tokenizer_counts_exactly(exact: TokenCounter, model: str) -> None:
    text = README[:8_000]
    assert exact.count(text.encode(), model) == Count(truth(text), CountedBy.TOKENIZER)


@pytest.mark.parametrize("model", ["claude-opus-5-5", "gemini-3.5-flash", "gpt-6-sol", "qwen3:8b"])
def test_no_other_vocabulary_is_passed_off_as_its_own(exact: TokenCounter, model: str) -> None:
    assert exact.count(README.encode(), model).source is CountedBy.ESTIMATE


@pytest.mark.parametrize("loaded", [False, True])
def test_of_a_long_text_pieces_speak_for_the_rest(exact: TokenCounter, loaded: bool) -> None:
    text = "\n".join([README, CODE, RECORDS, CHINESE] * 6)
    counter = exact if loaded else TokenCounter()
    count = counter.count(text.encode(), "gpt-4o")
    assert count.source is CountedBy.ESTIMATE
    assert count.tokens == pytest.approx(truth(text), rel=0.15)


def test_without_the_extra_there_are_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "toktok", None)
    counter = TokenCounter()
    assert not counter.load()
    assert counter.count(b"Hello there.", "gpt-4o").source is CountedBy.ESTIMATE


@given(st.binary(max_size=3_000), st.binary(max_size=100), st.sampled_from(["gpt-4o", "x"]))
def test_any_bytes_have_a_count_and_more_bytes_no_smaller_one(
    head: bytes, tail: bytes, model: str
) -> None:
    counter = TokenCounter()
    assert counter.count(b"", model).tokens == 0
    assert 0 <= counter.count(head, model).tokens <= counter.count(head + tail, model).tokens
    assert counter.count(head + b"x", model).tokens > 0


@given(st.binary(max_size=2_000))
def test_the_tokenizer_takes_any_bytes(body: bytes) -> None:
    counter = TokenCounter()
    counter.load()
    assert counter.count(body, "gpt-4o").tokens >= 0
    assert counter.count_body(body, "gpt-4o", len(body)).tokens >= 0


QUESTION = "Why does the gateway answer 503, and what should I look at first?"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000}}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": QUESTION}]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]},
    "completion": {"prompt": QUESTION},
    "embedding": {"input": [QUESTION]},
    "anthropic": {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": QUESTION}],
    },
    "tool result": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "content": [{"type": "text", "text": QUESTION}]}
                ],
            }
        ]
    },
    "responses": {
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
    },
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_counts_for_its_texts(exact: TokenCounter, name: str) -> None:
    body = json.dumps({"model": "gpt-4o", **BODIES[name]}).encode()
    count = exact.count_body(body, "gpt-4o", len(QUESTION))
    assert count.source is CountedBy.ESTIMATE
    assert truth(QUESTION) <= count.tokens <= truth(QUESTION) + 15


def test_escapes_are_read_as_what_they_mean(exact: TokenCounter) -> None:
    body = {"messages": [{"role": "user", "content": CHINESE[:1_500]}]}
    escaped, plain = (json.dumps(body, ensure_ascii=ascii).encode() for ascii in (True, False))
    assert exact.count_body(escaped, "gpt-4o", 1) == exact.count_body(plain, "gpt-4o", 1)


def test_a_picture_counts_as_one_and_not_for_its_bytes(exact: TokenCounter) -> None:
    content = [{"type": "text", "text": QUESTION}, PICTURE]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    count = exact.count_body(body, "gpt-4o", len(QUESTION))
    assert IMAGE_TOKENS < count.tokens < IMAGE_TOKENS + truth(QUESTION) + 15


@pytest.mark.parametrize("ascii", [False, True])
def test_a_large_body_is_weighed_as_it_is(ascii: bool) -> None:
    text = "\n".join([README, CODE, CHINESE] * 6)
    messages = [{"role": "user", "content": text}]
    body = json.dumps({"messages": messages}, ensure_ascii=ascii).encode()
    peeked = len(json.dumps(text, ensure_ascii=ascii))
    if not ascii:
        peeked = len(json.dumps(text, ensure_ascii=False).encode())
    count = TokenCounter().count_body(body, "gpt-4o", peeked)
    assert count.tokens == pytest.approx(truth(text), rel=0.35)


def test_a_large_picture_is_not_taken_for_text() -> None:
    content = [{"type": "text", "text": QUESTION}, {"type": "image", "data": "A" * 2_000_000}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    assert TokenCounter().count_body(body, "gpt-4o", len(QUESTION)).tokens < 50_000
