"""The screen over a gateway that runs: what a key does is done, seen and kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from nexus_proxy.accounting import spending
from nexus_proxy.config.load import load
from nexus_proxy.config.model import Zone
from nexus_tui.app import Leave, NexusApp
from nexus_tui.palette import offers
from nexus_tui.screens.modal import Ask, Choose, Confirm
from nexus_tui.source.attached import HttpSource
from nexus_tui.source.in_process import RuntimeSource
from nexus_tui.widgets.header_strip import HeaderStrip
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend
from tests.tui.looking import Looking
from tests.tui.scripted import ScriptedSource

TRIES = 200
MODEL_HINT = "Model that is served for it. Enter sets it."


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="one") as backend:
        yield backend


@pytest.fixture
def path(tmp_path: Path, backend: ScriptedBackend) -> Path:
    path = tmp_path / "nexus.toml"
    path.write_text(
        "# mine\n[discovery]\nenabled = false\n\n"
        f'[[backends]]\nname = "one"  # the first\nurl = "{backend.url}"\ntype = "generic"\n'
    )
    return path


@pytest.fixture
async def gateway(backend: ScriptedBackend, path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("one", backend.url)], path=path) as running:
        yield running


async def sees(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    """Let the screen work until `condition` holds."""
    for _ in range(TRIES):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError("it never came")


def told(app: NexusApp, *words: str) -> bool:
    """Whether one toast says all of this."""
    return any(all(word in toast.message for word in words) for toast in app._notifications)


@asynccontextmanager
async def screen(
    gateway: RunningGateway, *, attached: bool = False, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Pilot[Leave], NexusApp]]:
    """The screen over a gateway, in its process or over HTTP."""
    http = HttpSource(gateway.url)
    try:
        if attached:
            await http.open()
        app = NexusApp(http if attached else RuntimeSource(gateway.runtime))
        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            yield pilot, app
    finally:
        await http.close()


@pytest.mark.parametrize("kind", ["in process", "attached"])
async def test_what_requests_cost_and_who_would_serve_comes_to_the_screen(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "LEAST_SECONDS", 0.0)
    async with ScriptedBackend(["gpt-4o"]) as cloud:
        paid = backend_entry("cloud", cloud.url, type="openai", api_key_env="OPENAI_API_KEY")
        async with running_gateway([paid], environ={"OPENAI_API_KEY": "sk-test"}) as gateway:
            runtime = gateway.runtime
            attached = kind == "attached"
            source = HttpSource(str(gateway.client.base_url)) if attached else None
            if source is not None:
                await source.open()
            app = NexusApp(source or RuntimeSource(runtime))
            async with app.run_test(size=(80, 24)) as pilot:
                look = Looking(pilot, app, ScriptedSource())
                await pilot.press("6")
                assert (await gateway.chat("gpt-4o")).status_code == 200
                await look.sees("$0.0000575 measured", "▌cloud")
                await pilot.press("3")
                await look.sees("▶ next")
            if source is not None:
                await source.close()


async def test_verbs_by_key_act_on_the_gateway_and_are_kept_in_the_file(
    gateway: RunningGateway, path: Path
) -> None:
    registry = gateway.runtime.registry
    app = NexusApp(RuntimeSource(gateway.runtime))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("2")
        await pilot.pause()
        await pilot.press("d")
        await pilot.pause()
        await pilot.press("y")
        await sees(pilot, lambda: registry.get("one").drained)
        await sees(pilot, lambda: "drained = true" in path.read_text())
        await pilot.press("d")
        await sees(pilot, lambda: not registry.get("one").drained)
        await pilot.press("plus")
        await sees(pilot, lambda: registry.get("one").priority == 40)
        await sees(pilot, lambda: "priority = 40" in path.read_text())
        await pilot.press("x")
        await pilot.pause()
        await pilot.press("n")
        await pilot.pause()
        assert "one" in registry
        await pilot.press("x")
        await pilot.pause()
        await pilot.press("y")
        await sees(pilot, lambda: "one" not in registry)
        await sees(pilot, lambda: "[[backends]]" not in path.read_text())
    assert path.read_text().startswith("# mine\n")
    assert load(str(path), environ={}).config.backends == []


@pytest.mark.parametrize("attached", [False, True])
async def test_u_undoes_the_last_acts_one_by_one_and_says_what(
    gateway: RunningGateway, attached: bool
) -> None:
    registry = gateway.runtime.registry
    async with screen(gateway, attached=attached) as (pilot, app):
        await pilot.press("2", "plus")
        await sees(pilot, lambda: told(app, "now has priority 40", "u undoes it"))
        await pilot.press("d")
        await sees(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await sees(pilot, lambda: told(app, "one drains"))
        await pilot.press("u")
        await sees(pilot, lambda: told(app, "Undone: one drains", "one takes requests again"))
        assert not registry.get("one").drained
        assert registry.get("one").priority == 40
        await pilot.press("ctrl+z")
        await sees(pilot, lambda: told(app, "Undone: one now has priority 40", "priority 50"))
        assert registry.get("one").priority == 50
        await pilot.press("u")
        await sees(pilot, lambda: told(app, "Nothing to undo"))


async def test_what_the_undoing_does_to_traffic_is_asked_first_too(
    gateway: RunningGateway,
) -> None:
    registry = gateway.runtime.registry
    registry.set_drained("one", True)
    async with screen(gateway) as (pilot, app):
        await pilot.press("2", "d")
        await sees(pilot, lambda: told(app, "one takes requests again"))
        await pilot.press("u")
        await sees(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        await sees(pilot, lambda: not isinstance(app.screen, Confirm))
        assert not registry.get("one").drained
        await pilot.press("u")
        await sees(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await sees(pilot, lambda: registry.get("one").drained)


async def test_aliases_are_set_and_removed_from_the_palette_and_undone(
    gateway: RunningGateway, path: Path
) -> None:
    registry = gateway.runtime.registry
    async with screen(gateway) as (pilot, app):
        app.perform("alias.set", app.selection())
        await sees(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press(*"gpt", "enter")
        await sees(pilot, lambda: isinstance(app.screen, Ask) and app.screen.hint == MODEL_HINT)
        await pilot.press("m", "enter")
        await sees(pilot, lambda: registry.aliases == {"gpt": "m"})
        texts = [offer.text for offer in offers(app.source.snapshot())]
        assert "Remove alias gpt → m" in texts
        app.perform("alias.remove", app.selection())
        await sees(pilot, lambda: isinstance(app.screen, Choose))
        await pilot.press("enter")
        await sees(pilot, lambda: registry.aliases == {})
        await pilot.press("u")
        await sees(pilot, lambda: registry.aliases == {"gpt": "m"})
    assert 'gpt = "m"' in path.read_text()


async def test_adding_by_url_lists_checks_and_keeps_the_backend(
    gateway: RunningGateway, path: Path
) -> None:
    async with ScriptedBackend(name="two", models=["other"]) as two:
        app = NexusApp(RuntimeSource(gateway.runtime))
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            await pilot.press("a")
            await pilot.pause()
            await pilot.press(*two.url.removeprefix("http://"), "enter")
            await sees(pilot, lambda: gateway.runtime.registry.has_model("other"))
            await sees(pilot, lambda: two.url in path.read_text())
        assert (await gateway.chat("other")).status_code == 200


async def test_the_same_screen_attaches_over_http(gateway: RunningGateway) -> None:
    source = HttpSource(gateway.url)
    await source.open()
    try:
        app = NexusApp(source)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            await gateway.chat()
            await sees(pilot, lambda: source.snapshot().totals.requests == 1)
            await source.run("backend.zone", {"backend": "one", "zone": "internal"})
            await sees(pilot, lambda: source.snapshot().backends[0].zone is Zone.INTERNAL)
    finally:
        await source.close()


async def test_airplane_mode_by_its_key_is_seen_in_the_header_and_ended_by_it(
    gateway: RunningGateway, path: Path
) -> None:
    registry = gateway.runtime.registry
    registry.set_zone("one", Zone.OPEN)
    app = NexusApp(RuntimeSource(gateway.runtime))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("o")
        await sees(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await sees(pilot, lambda: registry.airplane)
        header = app.screen_stack[0].query_one(HeaderStrip)
        await sees(pilot, lambda: "✈ airplane: no cloud" in header.render().plain)
        await sees(pilot, lambda: "airplane = true" in path.read_text())
        await pilot.press("o")
        await sees(pilot, lambda: not registry.airplane)
        await sees(pilot, lambda: "✈" not in header.render().plain)
