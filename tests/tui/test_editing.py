"""Editing on the screen, against a real gateway: the configuration, and a backend by its URL."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from nexus_tui.app import Leave, NexusApp
from nexus_tui.screens.add_backend import AddBackend
from nexus_tui.screens.edit_setting import Apply, EditSetting
from nexus_tui.screens.modal import Confirm
from nexus_tui.widgets.config_pane import ConfigPane
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend
from tests.tui.looking import looking
from tests.tui.scripted import ScriptedSource
from tests.tui.test_on_a_real_gateway import screen, sees, told


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="one") as backend:
        yield backend


@pytest.fixture
def path(tmp_path: Path, backend: ScriptedBackend) -> Path:
    path = tmp_path / "nexus.toml"
    path.write_text(
        "# mine\n[discovery]\nenabled = false\n[routing]\nmax_retries = 3  # enough\n"
        f'[[backends]]\nname = "one"\nurl = "{backend.url}"\ntype = "generic"\n'
    )
    return path


@pytest.fixture
async def gateway(backend: ScriptedBackend, path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("one", backend.url)], path=path) as running:
        await running.runtime.reload_config()
        yield running


def text(app: NexusApp) -> str:
    """All that is on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def unwrapped(words: str) -> str:
    """Without blanks, line ends and frames, so that a long path is found however it is broken."""
    return "".join(re.findall(r"[\w./:-]", words))


async def open_key(pilot: Pilot[Leave], app: NexusApp, words: str) -> None:
    """Filter the configuration down to one key and open it."""
    await pilot.press("9")
    await sees(pilot, lambda: "routing.strategy" in text(app) or "server.host" in text(app))
    await pilot.press("slash", *words, "enter", "enter")
    await sees(pilot, lambda: isinstance(app.screen, EditSetting))


@pytest.mark.parametrize("attached", [False, True])
async def test_a_key_is_filtered_edited_and_applied_after_its_diff(
    gateway: RunningGateway, path: Path, attached: bool
) -> None:
    async with screen(gateway, attached=attached) as (pilot, app):
        await open_key(pilot, app, "max_retries")
        await sees(pilot, lambda: unwrapped(f"{path}:5") in unwrapped(text(app)))
        assert "a whole number from 0 to 10" in text(app)
        entry = app.screen.query_one(Input)
        assert entry.value == "3"
        entry.value = "99"
        await pilot.press("enter")
        await sees(pilot, lambda: "must be a whole number from 0 to 10, but is 99" in text(app))
        entry.value = "7"
        await pilot.press("enter")
        await sees(pilot, lambda: isinstance(app.screen, Apply))
        assert "-max_retries = 3  # enough" in text(app)
        assert "+max_retries = 7  # enough" in text(app)
        await pilot.press("n")
        await sees(pilot, lambda: isinstance(app.screen, EditSetting))
        assert gateway.runtime.config.routing.max_retries == 3
        await pilot.press("enter")
        await sees(pilot, lambda: isinstance(app.screen, Apply))
        await pilot.press("y")
        await sees(pilot, lambda: told(app, "routing.max_retries is set to 7", "u undoes it"))
        assert gateway.runtime.config.routing.max_retries == 7
        assert "max_retries = 7  # enough" in path.read_text()
        pane = app.screen.query_one(ConfigPane)
        await sees(pilot, lambda: any(s.value == 7 for s in pane.table.items))
        await pilot.press("u")
        await sees(pilot, lambda: isinstance(app.screen, Confirm))
        assert "+max_retries = 3  # enough" in text(app)
        await pilot.press("y")
        await sees(pilot, lambda: gateway.runtime.config.routing.max_retries == 3)


async def test_an_empty_value_takes_the_key_out_of_the_file(
    gateway: RunningGateway, path: Path
) -> None:
    async with screen(gateway) as (pilot, app):
        await open_key(pilot, app, "max_retries")
        app.screen.query_one(Input).value = ""
        await pilot.press("enter")
        await sees(pilot, lambda: isinstance(app.screen, Apply))
        await pilot.press("y")
        await sees(pilot, lambda: told(app, "is not in the file any more, and is 2"))
    assert "max_retries" not in path.read_text()
    assert path.read_text().startswith("# mine\n")


async def test_without_the_management_key_the_configuration_can_only_be_read() -> None:
    source = ScriptedSource(attached=True)
    source.read_only = True
    async with looking(source) as look:
        await look.press("9")
        await look.sees("server.port", "8100", "--port")
        await look.press("slash")
        await look.type("from:env")
        await look.until(lambda: "server.port" not in look.text)
        await look.sees("logging.level", "NEXUS_LOG_LEVEL", "1 of ")
        await look.press("escape", "g", "j", "enter")
        await look.sees("Read-only: attach with the management key", "with the next start")
        assert not look.app.screen.query(Input)


@pytest.mark.parametrize("attached", [False, True])
async def test_what_answers_is_shown_while_the_url_is_typed_and_before_it_is_added(
    gateway: RunningGateway, attached: bool
) -> None:
    async with (
        ScriptedBackend(["big", "small"], owned_by="vllm") as box,
        screen(gateway, attached=attached) as (pilot, app),
    ):
        box.routes["/version"] = {"version": "0.32.0"}
        await pilot.press("a")
        await sees(pilot, lambda: isinstance(app.screen, AddBackend))
        await pilot.press(*box.url.removeprefix("http://"))
        await sees(pilot, lambda: "vllm 0.32.0 at" in text(app))
        shown = text(app)
        assert "2 models: big, small" in shown
        assert "none needed" in shown
        assert "● answered in" in shown
        assert len(gateway.runtime.registry) == 1
        await pilot.press("enter")
        await sees(pilot, lambda: told(app, "added: vllm", "u undoes it"))
        assert len(gateway.runtime.registry) == 2
        await pilot.press("a")
        await sees(pilot, lambda: isinstance(app.screen, AddBackend))
        await pilot.press(*box.url.removeprefix("http://"))
        await sees(pilot, lambda: "already" in text(app))


async def test_a_backend_that_wants_a_key_says_so_before_it_is_added(
    gateway: RunningGateway,
) -> None:
    async with ScriptedBackend(["m"], api_key="sk-secret") as box, screen(gateway) as (pilot, app):
        await pilot.press("a")
        await sees(pilot, lambda: isinstance(app.screen, AddBackend))
        await pilot.press(*box.url.removeprefix("http://"))
        await sees(pilot, lambda: "wants one: then set its api_key_env" in text(app))
        assert "✕ no" in text(app)


async def test_only_the_last_of_what_is_typed_is_asked_and_an_error_is_said_in_words() -> None:
    async with looking() as look:
        await look.press("a")
        await look.press(*"box:11434")
        await look.sees("✕ nothing is added: box:11434: connection refused")
        assert look.source.looked == ["box:11434"]
        await look.press("backspace")
        hint = look.app.screen.query_one(".hint", Static)
        await look.until(lambda: "Enter adds it" in str(hint.render()))
