from __future__ import annotations

import pytest
from textual.binding import Binding

from nexus_proxy.commands import COMMANDS
from nexus_tui.app import NexusApp
from nexus_tui.keymap import toggled, verb_bindings
from nexus_tui.screens.add_backend import AddBackend
from nexus_tui.screens.dashboard import Dashboard
from nexus_tui.screens.modal import Ask, Choose, Confirm, TypeName
from nexus_tui.screens.quit import QuitQuestion
from nexus_tui.screens.story import StoryScreen
from nexus_tui.widgets.filter_bar import FilterBar
from nexus_tui.widgets.live_table import LiveTable
from nexus_tui.widgets.logs_pane import LogsPane
from nexus_tui.widgets.table_pane import TablePane
from tests.support.sample_snapshot import backend, snapshot

WITH_BINDINGS = (
    NexusApp,
    Dashboard,
    StoryScreen,
    LiveTable,
    TablePane,
    LogsPane,
    FilterBar,
    Ask,
    Choose,
    Confirm,
    TypeName,
    QuitQuestion,
    AddBackend,
)


def test_every_verb_with_a_key_is_bound_to_that_key() -> None:
    bound = {binding.id: binding.key for binding in verb_bindings()}
    for command in COMMANDS:
        if command.key:
            assert bound[command.name] == command.key


@pytest.mark.parametrize("owner", WITH_BINDINGS)
def test_every_key_says_what_it_does(owner: type[NexusApp]) -> None:
    for binding in owner.BINDINGS:
        assert isinstance(binding, Binding)
        assert binding.description
        assert binding.tooltip


def test_no_verb_takes_a_key_that_the_screen_needs() -> None:
    verbs = {key for binding in verb_bindings() for key in binding.key.split(",")}
    others = {
        key
        for owner in (Dashboard, LiveTable, TablePane, LogsPane)
        for binding in owner.BINDINGS
        if isinstance(binding, Binding)
        for key in binding.key.split(",")
    }
    assert not verbs & others


def test_keys_that_undo_what_they_did() -> None:
    drained = snapshot(backends=(backend(drained=True),), pins={"qwen3:8b": "ollama"})
    assert toggled("backend.drain", {"backend": "ollama"}, drained)[0] == "backend.resume"
    pin = {"model": "qwen3:8b", "backend": "ollama"}
    assert toggled("backend.pin", pin, drained) == ("backend.unpin", {"model": "qwen3:8b"})
    elsewhere = {"model": "qwen3:8b", "backend": "vllm-b"}
    assert toggled("backend.pin", elsewhere, drained) == ("backend.pin", elsewhere)
    assert toggled("backend.check", {"backend": "ollama"}, drained)[0] == "backend.check"
