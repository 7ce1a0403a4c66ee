"""What an error quotes of the request is left out of it, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.relay.quoting import without_quotations

words = st.lists(st.text("abcdefgé", min_size=4, max_size=9), min_size=4, max_size=12)


def body(prompt: str, *, ascii_only: bool = True) -> bytes:
    return json.dumps({"model": "m", "prompt": prompt}, ensure_ascii=ascii_only).encode()


@given(words, st.booleans())
def test_a_prompt_that_is_quoted_whole_is_gone(said: list[str], ascii_only: bool) -> None:
    prompt = " ".join(said)
    request = body(prompt, ascii_only=ascii_only)
    assert without_quotations(f"bad input: '{prompt}'!", request, but="m") == "bad input: '[…]'!"


@pytest.mark.parametrize(
    "sentence",
    [
        "model 'meta-llama/Llama-3.3-70B-Instruct' is not loaded",
        "the prompt is too long: 9000 tokens > 8192 maximum",
        "prompt: field required",
        "",
    ],
)
def test_what_a_backend_says_itself_stays(sentence: str) -> None:
    request = b'{"model":"meta-llama/Llama-3.3-70B-Instruct","prompt":"tell me a story"}'
    model = "meta-llama/Llama-3.3-70B-Instruct"
    assert without_quotations(sentence, request, but=model) == sentence


@pytest.mark.parametrize("word", ["aGVsbG8" * 6, "请告诉我一个故事"])
def test_a_telling_word_is_gone(word: str) -> None:
    assert without_quotations(f"cannot read {word}", body(word), but="m") == "cannot read […]"
