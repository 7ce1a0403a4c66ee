"""Keys: those of the verbs come from the verbs table, so that no key can do anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.binding import Binding

from nexus_proxy.commands import BY_NAME, COMMANDS
from nexus_proxy.state import RUNNING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nexus_proxy.commands import Command
    from nexus_proxy.state import BackendView, Snapshot
    from nexus_tui.selection import Selection

PRIORITY_STEP = 10

UNDONE_BY = {
    "backend.drain": "backend.resume",
    "backend.pin": "backend.unpin",
    "model.load": "model.unload",
}
"""Verbs whose key, pressed again, runs another verb."""


def label(command: Command) -> str:
    """What a verb is called on the screen: `Check now` for `Backend: check now`."""
    return command.title.rpartition(": ")[2].capitalize()


def _help(command: Command) -> str:
    undo = BY_NAME.get(UNDONE_BY.get(command.name, ""))
    return f"{command.help} Again: {undo.help}" if undo else command.help


def needs_selection(name: str) -> bool:
    """Whether a verb acts on a backend, model or request."""
    return any(
        one.kind in {"backend", "model", "request"}
        for one in BY_NAME[name].arguments
        if one.required
    )


def named(kind: str, snapshot: Snapshot) -> dict[str, str]:
    """What a verb can act on that has no row of its own, by name, each with words to tell it by."""
    match kind:
        case "key":
            return {view.name: view.name for view in snapshot.keys}
        case "alias":
            return {alias: f"{alias} → {model}" for alias, model in snapshot.aliases.items()}
        case "fallback":
            chains = snapshot.fallbacks.items()
            return {model: " → ".join((model, *others)) for model, others in chains}
        case "request":
            running = (view for view in snapshot.requests if view.phase in RUNNING)
            return {view.id: f"{view.id}  {view.model or view.model_asked}" for view in running}
        case _:
            return {}


def verb_bindings() -> list[Binding]:
    """One binding for each verb that has a key, and two that step the priority."""
    verbs = [
        Binding(
            command.key,
            f"verb('{command.name}')",
            label(command),
            id=command.name,
            tooltip=_help(command),
        )
        for command in COMMANDS
        if command.key
    ]
    return [
        *verbs,
        Binding(
            "plus,equals_sign",
            f"prefer({-PRIORITY_STEP})",
            "Prefer",
            id="backend.priority.more",
            show=False,
            key_display="+",
            tooltip=f"Its priority number goes down by {PRIORITY_STEP}",
        ),
        Binding(
            "minus",
            f"prefer({PRIORITY_STEP})",
            "Prefer less",
            id="backend.priority.less",
            show=False,
            key_display="-",
            tooltip=f"Its priority number goes up by {PRIORITY_STEP}",
        ),
    ]


def toggled(
    name: str, arguments: Mapping[str, Any], snapshot: Snapshot
) -> tuple[str, Mapping[str, Any]]:
    """What a key means now: what drains also resumes, what pins also unpins, what loads also
    unloads."""
    if name == "backend.drain":
        drained = any(one.name == arguments["backend"] and one.drained for one in snapshot.backends)
        return (UNDONE_BY[name], arguments) if drained else (name, arguments)
    if name == "backend.pin" and snapshot.pins.get(arguments["model"]) == arguments["backend"]:
        return UNDONE_BY[name], {"model": arguments["model"]}
    if name == "model.load" and _is_loaded(arguments["model"], arguments["backend"], snapshot):
        return UNDONE_BY[name], arguments
    return name, arguments


def makes_sense(name: str, view: BackendView) -> bool:
    """Whether a verb would change anything on this backend."""
    match name:
        case "backend.drain":
            return not view.drained
        case "backend.resume":
            return view.drained
        case "backend.accept":
            return not (view.accepted and view.enabled)
        case "backend.disable":
            return view.accepted and view.enabled
        case "backend.pin":
            return bool(view.models)
        case "backend.unpin":
            return bool(view.pinned_models)
        case "model.load":
            return view.loads_when_told and any(one.loaded is False for one in view.models)
        case "model.unload" | "model.migrate":
            return view.loads_when_told and any(one.loaded is True for one in view.models)
        case _:
            return True


def offer(name: str, selection: Selection, snapshot: Snapshot) -> tuple[str, bool]:
    """What the key of a verb is called now, and whether it would change anything."""
    if name == "request.cancel":
        return label(BY_NAME[name]), _is_running(selection.request, snapshot)
    view = next((one for one in snapshot.backends if one.name == selection.backend), None)
    if view is None:
        return label(BY_NAME[name]), bool(snapshot.backends) or not needs_selection(name)
    arguments = {"backend": view.name, "model": selection.model or ""}
    means, _ = toggled(name, arguments, snapshot)
    other = UNDONE_BY.get(name)
    can = makes_sense(means, view) or (other is not None and makes_sense(other, view))
    return label(BY_NAME[means]), can


def _is_running(request: str | None, snapshot: Snapshot) -> bool:
    """Looks no further than the request, of which there may be 10,000."""
    if request is None:
        return False
    view = next((one for one in snapshot.requests if one.id == request), None)
    return view is not None and view.phase in RUNNING


def _is_loaded(model: str, backend: str, snapshot: Snapshot) -> bool:
    views = (view for view in snapshot.backends if view.name == backend)
    return any(one.id == model and one.loaded is True for view in views for one in view.models)
