"""Variables that were set for other tools, read by those tools' rules."""

from __future__ import annotations

import pytest

from nexus_proxy.config.model import BackendType
from nexus_proxy.discovery.environment import named, ollama_url

KEY = {"OPENAI_API_KEY": "sk-secret"}


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500"),
        (":11500", "http://127.0.0.1:11500"),
        ("::", "http://127.0.0.1:11434"),
        ("[::]:11500", "http://127.0.0.1:11500"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("localhost", "http://localhost:11434"),
        ("gpubox", "http://gpubox:11434"),
        ("gpubox:1234", "http://gpubox:1234"),
        (" '192.168.1.7' ", "http://192.168.1.7:11434"),
        ("http://gpubox", "http://gpubox"),
        ("http://gpubox:11434/", "http://gpubox:11434"),
        ("https://ollama.example.com", "https://ollama.example.com"),
        ("https://example.com/ollama/", "https://example.com/ollama"),
        ("gpubox/ollama", "http://gpubox:11434/ollama"),
    ],
)
def test_forms_of_ollama_host(value: str, url: str) -> None:
    assert ollama_url(value) == url


@pytest.mark.parametrize("value", ["gpubox:x", "user@gpubox", "a b", "ftp://gpubox", "gpubox:0"])
def test_what_is_no_ollama_host(value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ollama_url(value)


def test_an_openai_key_alone_means_openai() -> None:
    (one,), problems = named(KEY)
    assert (one.url, one.type, one.variable) == (
        "https://api.openai.com",
        BackendType.OPENAI,
        "OPENAI_API_KEY",
    )
    assert (one.api_key_env, problems) == ("OPENAI_API_KEY", [])


def test_openai_base_url_is_honoured() -> None:
    (one,), _ = named(KEY | {"OPENAI_BASE_URL": "https://openrouter.ai/api/v1/"})
    assert (one.url, one.variable) == ("https://openrouter.ai/api", "OPENAI_BASE_URL")


def test_empty_values_are_none() -> None:
    assert named({"OPENAI_API_KEY": " ", "OLLAMA_HOST": "", "OPENAI_BASE_URL": ""}) == ([], [])


def test_an_unreadable_value_is_a_sentence_without_the_key() -> None:
    found, (problem,) = named(KEY | {"OPENAI_BASE_URL": "https://me:sk-secret@example.com"})
    assert found == []
    assert problem.startswith("OPENAI_BASE_URL is not used: ")
    assert "sk-secret" not in problem
