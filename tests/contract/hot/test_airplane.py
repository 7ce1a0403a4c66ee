"""Airplane mode: nothing goes to clouds, what runs there is cut, and what is local goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nexus_proxy.errors import CommandError
from nexus_proxy.events import AirplaneChanged, Event
from nexus_proxy.state import RequestPhase
from tests.contract.hot.asking import CHAT, body_for, error_of, post
from tests.faults.streams import stream_chat
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend

ON, OFF = {"state": "on"}, {"state": "off"}


@pytest.fixture
async def cloud() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m", "cloud-only"], name="cloud") as one:
        yield one


@pytest.fixture
async def home() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m"], name="home") as one:
        yield one


@pytest.fixture
async def house(
    tmp_path: Path, cloud: ScriptedBackend, home: ScriptedBackend
) -> AsyncIterator[RunningGateway]:
    """A cloud that somebody trusts with more, and prefers, beside a machine at home."""
    path = tmp_path / "nexus.toml"
    path.write_text("# mine\n[discovery]\nenabled = false\n")
    entries = [
        backend_entry("cloud", cloud.url, type="openai", zone="internal", priority=1),
        backend_entry("home", home.url, priority=90),
    ]
    routing = {"strategy": "priority_only"}
    async with running_gateway(entries, routing=routing, path=path) as running:
        yield running


async def airplane(house: RunningGateway, state: dict[str, str]) -> str:
    return (await house.runtime.run_command("gateway.airplane", state)).message


async def test_a_stream_from_a_cloud_is_cut_with_an_error_while_a_local_one_goes_on(
    house: RunningGateway, cloud: ScriptedBackend, home: ScriptedBackend
) -> None:
    cloud.behave(Answer(hold_before=3))
    home.behave(Answer(hold_before=3))
    away = asyncio.ensure_future(stream_chat(house))  # noqa: TID251 - the test is the client
    near = asyncio.ensure_future(stream_chat(house, model="home/m"))  # noqa: TID251
    await cloud.until(lambda: len(cloud.generations) == 1)
    await home.until(lambda: len(home.generations) == 1)
    await house.until(lambda: streaming(house) == 2)
    asked = house.runtime.consequence("gateway.airplane", ON)
    assert asked is not None
    assert "1 request to clouds is cut" in asked
    assert "nobody else serves cloud-only" in asked
    assert "1 request to clouds cut" in await airplane(house, ON)
    cut = await away
    assert cut.error is not None
    assert cut.error["code"] == "airplane_mode"
    assert cut.dones == 0
    await cloud.generations[0].closed(within=1.0)
    home.release()
    whole = await near
    assert whole.error is None
    assert whole.dones == 1
    assert house.runtime.registry.get("cloud").failures == 0, "it did nothing wrong"


def streaming(house: RunningGateway) -> int:
    phases = [request.phase for request in house.runtime.snapshot().requests]
    return phases.count(RequestPhase.STREAMING)


async def test_before_the_first_byte_the_request_goes_to_the_next_local_one(
    house: RunningGateway, cloud: ScriptedBackend
) -> None:
    cloud.behave(Answer(hold_before="headers"))
    asking = asyncio.ensure_future(house.chat())  # noqa: TID251
    await cloud.until(lambda: len(cloud.generations) == 1)
    await airplane(house, ON)
    answer = await asking
    assert answer.status_code == 200
    assert answer.headers["x-nexus-backend"] == "home"
    assert answer.headers["x-nexus-route-reason"] == "failover"


async def test_no_request_and_no_check_goes_to_a_cloud_until_it_is_off(
    house: RunningGateway, cloud: ScriptedBackend
) -> None:
    heard: list[Event] = []
    house.runtime.bus.subscribe(heard.append, AirplaneChanged)
    await airplane(house, ON)
    assert (await house.chat()).headers["x-nexus-backend"] == "home"
    refused = await post(house, body_for(CHAT, "cloud-only"))
    error = error_of(refused, 503, "no_available_backend")
    assert error["message"].endswith("(nexus airplane off)")
    rejection = error["context"]["rejections"][0]
    assert rejection["stage"] == "airplane"
    assert rejection["fix"] == "nexus airplane off"
    probes = len(cloud.probes)
    told = await house.runtime.run_command("backend.check", {"backend": "cloud"})
    assert "airplane mode" in told.message
    with pytest.raises(CommandError, match="airplane"):
        await house.runtime.run_command("backend.add", {"url": "https://api.example.com"})
    assert len(cloud.probes) == probes
    assert not cloud.generations
    state = (await house.client.get("/nexus/v1/state")).json()
    assert state["airplane"] is True
    await airplane(house, OFF)
    await cloud.until(lambda: len(cloud.probes) > probes)
    assert (await house.chat("cloud-only")).headers["x-nexus-backend"] == "cloud"
    assert heard == [AirplaneChanged(on=True), AirplaneChanged(on=False)]


async def test_it_is_kept_in_the_file_and_taken_from_it(house: RunningGateway) -> None:
    path, registry = house.runtime.config_file.path, house.runtime.registry
    await airplane(house, ON)
    assert "airplane = true" in path.read_text()
    path.write_text(path.read_text().replace("airplane = true", "airplane = false"))
    await house.until(lambda: not registry.airplane)


async def test_all_of_zone_open_counts_as_a_cloud(cloud: ScriptedBackend) -> None:
    entries = [backend_entry("far", cloud.url, zone="open")]
    async with running_gateway(entries, routing={"airplane": True}, wait_up=False) as house:
        await house.until(lambda: "far" in house.runtime.registry)
        assert not cloud.probes, "also not at the start"
        registry = house.runtime.registry
        await house.runtime.run_command("backend.zone", {"backend": "far", "zone": "internal"})
        await house.up("far")
        assert registry.airplane
        assert (await house.chat()).status_code == 200


async def test_a_stale_decision_does_not_slip_through(
    house: RunningGateway, cloud: ScriptedBackend, home: ScriptedBackend
) -> None:
    """Decided before, sent after: what is asked last is the switch, not the decision."""
    registry = house.runtime.registry
    home.behave(Answer())
    original = house.runtime.relay.attempts.make

    async def switched(*arguments: Any) -> Any:
        registry.set_airplane(True)
        return await original(*arguments)

    house.runtime.relay.attempts.make = switched  # type: ignore[assignment, method-assign]
    assert (await house.chat()).headers["x-nexus-backend"] == "home"
    assert not cloud.generations
