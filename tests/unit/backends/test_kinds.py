"""The table of kinds, and strangers who add to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import httpx
import pytest

from nexus_proxy import backends
from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import Adapter, Target
from nexus_proxy.backends.foreign import decode, parameters
from nexus_proxy.backends.openai import FAMILIES, family_of
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, Probe, Traits


class Strange(Adapter):
    """What a plugin would bring."""

    type = BackendType.GENERIC
    title = "strange"
    traits = Traits()

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        return Probe(models=())


@pytest.fixture
def fresh_table() -> Iterator[None]:
    backends._adapters.cache_clear()
    yield
    backends._adapters.cache_clear()


def offer(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = tuple(EntryPoint(name="p", value=value, group="nexus.backends") for value in values)

    def entry_points(*, group: str) -> tuple[EntryPoint, ...]:
        return points if group == "nexus.backends" else ()

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


def test_every_kind_has_one_adapter() -> None:
    for type_ in BackendType:
        assert adapter_for(type_).type is type_
        assert adapter_for(type_) is adapter_for(type_)


def test_providers_are_clouds_and_only_llamacpp_is_distrusted() -> None:
    traits = {type_: adapter_for(type_).traits for type_ in BackendType}
    cloud = {type_ for type_, its in traits.items() if its.is_cloud}
    distrusted = {type_ for type_, its in traits.items() if not its.reuse_after_stream}
    unstoppable = {type_ for type_, its in traits.items() if not its.cancels_non_stream}
    assert cloud == {BackendType.OPENAI, BackendType.ANTHROPIC, BackendType.GOOGLE}
    assert distrusted == unstoppable == {BackendType.LLAMACPP}


@pytest.mark.usefixtures("fresh_table")
def test_a_plugin_takes_the_place_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "tests.unit.backends.test_kinds:Strange")
    assert adapter_for(BackendType.GENERIC).title == "strange"
    assert adapter_for(BackendType.OLLAMA).title == "Ollama"


@pytest.mark.usefixtures("fresh_table")
@pytest.mark.parametrize("value", ["no.such.module:Thing", "nexus_proxy.backends:BUILT_IN"])
def test_a_broken_plugin_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    offer(monkeypatch, value)
    with caplog.at_level(logging.WARNING):
        assert all(adapter_for(type_).type is type_ for type_ in BackendType)
    assert value in caplog.text


def test_a_key_shows_in_no_repr() -> None:
    target = Target(base_url="http://box", api_key="sk-secret")
    assert "sk-secret" not in repr(target) + str(target)
    assert adapter_for(BackendType.OPENAI).auth_headers(target) == {
        "authorization": "Bearer sk-secret"
    }
    assert adapter_for(BackendType.OPENAI).auth_headers(Target(base_url="http://box")) == {}


@pytest.mark.parametrize(
    ("model", "context", "chats"),
    [
        ("gpt-4o", 128_000, True),
        ("gpt-4o-2024-08-06", 128_000, True),
        ("gpt-4o-mini-2024-07-18", 128_000, True),
        ("gpt-4.1-nano", 1_047_576, True),
        ("gpt-5-mini", 400_000, True),
        ("o3-mini-2025-01-31", 200_000, True),
        ("gpt-3.5-turbo-instruct-0914", 4_096, False),
        ("text-embedding-3-large", 8_191, False),
        ("gpt-4o-mini-transcribe", None, False),
        ("gpt-4o-mini-tts", None, False),
        ("omni-moderation-latest", None, False),
    ],
)
def test_families_of_openai(model: str, context: int | None, chats: bool) -> None:
    family = family_of(model)
    assert family is not None
    assert family.context == context
    assert (Capability.CHAT in family.can, Capability.CHAT in family.cannot) == (chats, not chats)


@pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "o1-pro", "gpt-5-pro", "gpt-9", "ft:x"])
def test_what_is_not_certain_is_not_claimed(model: str) -> None:
    assert family_of(model) is None


def test_no_family_contradicts_itself() -> None:
    for family in FAMILIES:
        assert not family.can & family.cannot


@pytest.mark.parametrize(
    ("number", "label"),
    [(134515008, "135M"), (8030261248, "8B"), (1543714304, "1.5B"), (None, None)],
)
def test_sizes_as_people_say_them(number: int | None, label: str | None) -> None:
    assert parameters(number) == label


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": "\xff"}', b"[" * 99_999])
def test_what_is_no_json_is_none(body: bytes) -> None:
    assert decode(body) is None
