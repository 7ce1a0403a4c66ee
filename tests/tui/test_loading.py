"""Models in memory on the screen: the key, the column, the palette, and how it ended."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nexus_proxy.state import (
    BackendView,
    ModelInfo,
    OperationKind,
    OperationPhase,
    OperationView,
    Snapshot,
)
from nexus_tui.palette import offers
from nexus_tui.screens.modal import Choose
from tests.support.sample_policies import NOW
from tests.support.sample_snapshot import backend, snapshot
from tests.tui.looking import looking
from tests.tui.scripted import ScriptedSource


def box(name: str, *, loaded: bool) -> BackendView:
    return backend(name, models=(ModelInfo(id="a", loaded=loaded),), loads_when_told=True)


def boxes(*operations: OperationView) -> Snapshot:
    views = (box("left", loaded=True), box("right", loaded=False))
    return snapshot(backends=views, operations=operations)


def loading(**changes: Any) -> OperationView:
    view = OperationView(
        id="op-1",
        kind=OperationKind.LOAD,
        model="a",
        backend="right",
        target=None,
        phase=OperationPhase.LOADING,
        acts_on="right",
        started=NOW - 12,
        phase_since=NOW - 12,
        ended=None,
        eta_seconds=20.0,
        waits_for=0,
        error=None,
    )
    return msgspec.structs.replace(view, **changes)


@pytest.mark.parametrize(
    ("keys", "verb", "name"),
    [("l", "model.unload", "left"), ("j l", "model.load", "right")],
)
@pytest.mark.parametrize("pane", ["backends", "models"])
async def test_l_loads_what_is_not_loaded_and_unloads_what_is(
    pane: str, keys: str, verb: str, name: str
) -> None:
    async with looking(ScriptedSource(boxes())) as look:
        look.dashboard.action_pane(pane)
        await look.until(lambda: look.selected is not None and look.selected.startswith("left"))
        await look.press(*keys.split())
        await look.told(f"ran {verb}")
        assert look.source.ran == [(verb, {"model": "a", "backend": name})]


async def test_the_models_pane_tells_how_far_it_is_and_what_it_was() -> None:
    async with looking(ScriptedSource(boxes())) as look:
        look.dashboard.action_pane("models")
        await look.sees("Loaded", "yes", "no", "Can")
        await look.change(boxes(loading()))
        await look.sees("loading 12 s of ~20 s")
        await look.change(boxes(loading(phase=OperationPhase.DRAINING, waits_for=3)))
        await look.sees("draining, 3 left")
        await look.change(boxes())
        await look.sees("Can")


async def test_how_it_ended_is_told_once() -> None:
    old = loading(id="op-0", phase=OperationPhase.DONE, ended=NOW)
    async with looking(ScriptedSource(boxes(old))) as look:
        await look.change(boxes(loading(), old))
        over = loading(phase=OperationPhase.FAILED, ended=NOW, error="no memory is left")
        await look.change(boxes(over, old))
        await look.told("a is not loaded on right: no memory is left")
        await look.change(boxes(over, old))
        assert len(look.toasts) == 1


async def test_migrate_asks_where_to_and_names_who_has_it() -> None:
    async with looking(ScriptedSource(boxes())) as look:
        look.app.perform("model.migrate", look.app.selection(), model="a")
        await look.until(lambda: isinstance(look.app.screen, Choose))
        await look.sees("Migrate a to which backend?")
        await look.press("enter")
        await look.told("ran model.migrate")
        sent = {"model": "a", "backend": "left", "target": "right"}
        assert look.source.ran == [("model.migrate", sent)]


def test_the_palette_offers_what_makes_sense() -> None:
    about = [one.text for one in offers(boxes()) if one.verb.startswith("model.")]
    assert about == [
        "Load a model on right",
        "Unload a model on left",
        "Migrate a model from left",
    ]
    assert not any(one.verb.startswith("model.") for one in offers(snapshot(backends=(backend(),))))
