"""Private prompts stay home: zones by header and policy, through aliases and fallbacks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.contract.hot.asking import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RawAnswer,
    body_for,
    error_of,
    post,
)
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend, faults

ROUTING: dict[str, Any] = {
    "strategy": "priority_only",
    "max_retries": 0,
    "aliases": {"private-*": "m", "my-alias": "private-x"},
    "fallbacks": {"secret": ["m"], "m": ["spare"]},
    "policies": [
        {"model_pattern": "private-*", "privacy": "restricted"},
        {"model_pattern": "secret", "privacy": "restricted"},
        {"model_pattern": "good", "min_tier": 3},
        {"model_pattern": "alone", "fallback_allowed": False},
    ],
}


@pytest.fixture
async def far() -> AsyncIterator[ScriptedBackend]:
    """Open to the world, and preferred."""
    async with ScriptedBackend(["m", "spare", "good", "far-only"], name="far") as one:
        yield one


@pytest.fixture
async def home() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m", "secret", "good", "alone"], name="home") as one:
        yield one


@asynccontextmanager
async def started(
    far: ScriptedBackend, home: ScriptedBackend, **more: Any
) -> AsyncIterator[RunningGateway]:
    entries = [
        backend_entry("far", far.url, zone="open", priority=1),
        backend_entry("home", home.url, zone="confidential", priority=90),
    ]
    async with running_gateway(entries, routing={**ROUTING, **more}) as running:
        yield running


@pytest.fixture
async def house(far: ScriptedBackend, home: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    async with started(far, home) as running:
        yield running


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
@pytest.mark.parametrize("zone", ["internal", "confidential", "Confidential"])
async def test_a_header_keeps_a_prompt_at_home(
    house: RunningGateway, far: ScriptedBackend, path: str, zone: str
) -> None:
    answer = await post(house, body_for(path), path, {"x-nexus-zone": zone})
    assert answer.headers["x-nexus-backend"] == "home"
    assert answer.headers["x-nexus-privacy-zone"] == "confidential"
    assert answer.headers["x-nexus-route-reason"] == "privacy-requirement"
    assert not far.generations


@pytest.mark.parametrize("zone", [None, "open"])
async def test_without_a_wish_the_preferred_one_serves(
    house: RunningGateway, zone: str | None
) -> None:
    headers = {"x-nexus-zone": zone} if zone else {}
    answer = await post(house, body_for(CHAT), headers=headers)
    assert answer.headers["x-nexus-backend"] == "far"
    assert answer.headers["x-nexus-privacy-zone"] == "open"


@pytest.mark.parametrize("zone", ["restrictd", ""])
async def test_a_zone_typo_is_refused_and_never_read_as_open(
    house: RunningGateway, far: ScriptedBackend, zone: str
) -> None:
    """Nor a variable that is empty where somebody meant to ask for a zone."""
    answer = await post(house, body_for(CHAT), headers={"x-nexus-zone": zone})
    error = error_of(answer, 400, "invalid_request")
    assert "restricted" in error["message"]
    assert not far.generations


@pytest.mark.parametrize("name", ["private-x", "private-anything", "my-alias"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_policy_holds_for_each_name_on_the_way_and_fails_closed(
    house: RunningGateway,
    far: ScriptedBackend,
    home: ScriptedBackend,
    name: str,
    stream: bool,
) -> None:
    answer = await post(house, body_for(CHAT, name, stream=stream))
    context = refusal_of(answer)
    assert context["required_zone"] == "restricted"
    assert {r["stage"] for r in context["rejections"]} == {"privacy"}
    await house.runtime.run_command("backend.zone", {"backend": "home", "zone": "restricted"})
    answer = await post(house, body_for(CHAT, name, stream=stream))
    assert answer.headers["x-nexus-backend"] == "home"
    assert not far.generations
    assert len(home.generations) == 1


async def test_a_fallback_inherits_the_zone_of_what_was_asked(
    house: RunningGateway, far: ScriptedBackend, home: ScriptedBackend
) -> None:
    """`secret` falls back to `m` and that to nothing: `far` has `m` and must not get it."""
    await house.runtime.run_command("backend.zone", {"backend": "home", "zone": "restricted"})
    home.behave(faults.status(500))
    answer = await post(house, body_for(CHAT, "secret"))
    assert answer.status_code == 500
    assert [r.json["model"] for r in home.generations] == ["secret", "m"]
    assert not far.generations


async def test_so_does_a_flexible_request(
    house: RunningGateway, far: ScriptedBackend, home: ScriptedBackend
) -> None:
    home.behave(faults.status(500))
    headers = {"x-nexus-zone": "confidential", "x-nexus-flexible": "true"}
    assert (await post(house, body_for(CHAT), headers=headers)).status_code == 500
    assert home.generations
    assert not far.generations


async def test_a_failing_home_is_not_replaced_by_the_world(
    house: RunningGateway, far: ScriptedBackend, home: ScriptedBackend
) -> None:
    home.behave(faults.reset_before_headers)
    headers = {"x-nexus-zone": "internal"}
    for stream in (False, True):
        answer = await post(house, body_for(CHAT, stream=stream), headers=headers)
        assert answer.status_code == 502
    assert not far.generations


async def test_a_refusal_tells_all_that_is_needed(house: RunningGateway) -> None:
    answer = await post(house, body_for(CHAT), headers={"x-nexus-zone": "restricted"})
    context = refusal_of(answer)
    assert context == {
        "required_tier": None,
        "required_zone": "restricted",
        "available_backends": ["far", "home"],
        "rejections": [
            {
                "backend": "far",
                "stage": "privacy",
                "reason": "its zone is open, the request needs restricted",
                "fix": "nexus backends zone far restricted, if that is true",
            },
            {
                "backend": "home",
                "stage": "privacy",
                "reason": "its zone is confidential, the request needs restricted",
                "fix": "nexus backends zone home restricted, if that is true",
            },
        ],
        "eta_seconds": None,
    }
    assert answer.headers["x-should-retry"] == "false", "waiting cannot help"
    assert "retry-after" not in answer.headers


async def test_waiting_can_help_when_somebody_is_only_down(
    far: ScriptedBackend, home: ScriptedBackend
) -> None:
    async with started(far, home) as house:
        home.refuse()
        home.drop_connections()
        await house.until(lambda: house.runtime.registry.get("home").health.value == "down")
        answer = await post(house, body_for(CHAT), headers={"x-nexus-zone": "internal"})
        context = refusal_of(answer)
        assert {r["stage"] for r in context["rejections"]} == {"privacy", "lifecycle"}
        assert answer.headers["retry-after"] == "5"
        assert "x-should-retry" not in answer.headers


async def test_a_lowest_tier_is_kept(far: ScriptedBackend, home: ScriptedBackend) -> None:
    async with started(far, home) as house:
        answer = await post(house, body_for(CHAT, "good"))
        context = refusal_of(answer)
        assert context["required_tier"] == 3
        assert {r["stage"] for r in context["rejections"]} == {"tier"}
        assert not far.generations


async def test_a_policy_can_forbid_other_models(
    far: ScriptedBackend, home: ScriptedBackend
) -> None:
    async with started(far, home, fallbacks={"alone": ["far-only"]}) as house:
        home.behave(faults.status(500))
        headers = {"x-nexus-flexible": "true"}
        assert (await post(house, body_for(CHAT, "alone"), headers=headers)).status_code == 500
        assert not far.generations


def refusal_of(answer: Any) -> dict[str, Any]:
    """The context of a routing refusal, which its headers repeat."""
    assert not isinstance(answer, RawAnswer)
    error = error_of(answer, 503, "no_available_backend")
    assert error["type"] == "service_unavailable"
    context: dict[str, Any] = error["context"]
    assert json.loads(answer.headers["x-nexus-rejection-details"]) == context["rejections"]
    for rejection in context["rejections"]:
        said = f"{rejection['backend']}: {rejection['reason']}"
        assert said in answer.headers["x-nexus-rejection-reasons"]
    assert "x-nexus-backend" not in answer.headers
    return context
