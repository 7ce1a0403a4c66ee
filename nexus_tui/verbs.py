"""From a key to a verb that ran: fill in what is missing, ask what must be asked, tell the result.

Arguments are filled in by their kind, from what is selected or by asking, so a new row in the
verbs table needs nothing here. Only adding a backend is known by name: it has its own screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nexus_proxy.commands import BY_NAME, Argument, Command, Danger
from nexus_proxy.config.model import Zone
from nexus_proxy.errors import CommandError, NexusError
from nexus_tui.format import STAR
from nexus_tui.keymap import label, named, toggled
from nexus_tui.safe_text import clean
from nexus_tui.screens.add_backend import AddBackend
from nexus_tui.screens.modal import Ask, Choice, Choose, Confirm, TypeName

if TYPE_CHECKING:
    from nexus_proxy.state import BackendView, Snapshot
    from nexus_tui.app import NexusApp
    from nexus_tui.selection import Selection

_ZONES = {
    Zone.OPEN: "least closed, as clouds are",
    Zone.INTERNAL: "as hosts of this network are",
    Zone.CONFIDENTIAL: "hosts that you trust with more",
    Zone.RESTRICTED: "most closed, as this machine is",
}
_HINTS = {
    "words": "Words, separated by commas. Empty removes them all. Enter sets them.",
    "int": "A whole number. Enter sets it.",
}
_NONE = {
    "key": "There is no API key. `nexus keys create NAME` makes one.",
    "alias": "There is no alias. The palette (ctrl+p) has `Set alias`.",
    "request": "No request runs now.",
    "fallback": "No model has fallbacks. The palette (ctrl+p) has `Set fallbacks`.",
}


async def perform(app: NexusApp, name: str, selection: Selection, given: Mapping[str, Any]) -> None:
    """Run one verb on what is selected, with all that it needs from the user but is not given."""
    command = BY_NAME[name]
    try:
        if name == "backend.add":
            added = await app.push_screen_wait(AddBackend(app.source))
            if added is not None:
                app.did(added)
            return
        arguments = await _gather(app, command, selection, given)
        if arguments is not None:
            await _run_agreed(app, *toggled(name, arguments, app.source.snapshot()))
    except NexusError as error:
        app.complain(str(error), title=command.title)


async def _run_agreed(app: NexusApp, name: str, arguments: Mapping[str, Any]) -> None:
    """Ask where the verb wants a question asked, then run it."""
    if await _agreed(app, BY_NAME[name], arguments):
        app.did(await app.source.run(name, arguments))


async def undo(app: NexusApp) -> None:
    """Run what undoes the last act of this screen; it is asked about like any other verb."""
    if not app.acts:
        app.tell("Nothing to undo: nothing was changed from this screen that can be undone.")
        return
    done = app.acts.pop()
    command = BY_NAME[done.inverse.verb]
    try:
        if not await _agreed(app, command, done.inverse.arguments):
            app.acts.append(done)
            return
        result = await app.source.run(command.name, done.inverse.arguments)
    except NexusError as error:
        app.complain(str(error), title="Not undone")
    else:
        app.tell(f"Undone: {done.what}\nNow: {result.message}")


async def _gather(
    app: NexusApp, command: Command, selection: Selection, given: Mapping[str, Any]
) -> dict[str, Any] | None:
    """All required arguments of a verb, or None where the user backed out."""
    arguments = dict(given)
    for argument in command.arguments:
        if argument.required and argument.name not in given:
            value = await _value(app, command, argument, selection, arguments)
            if value is None:
                return None
            arguments[argument.name] = value
    return arguments


async def _agreed(app: NexusApp, command: Command, arguments: Mapping[str, Any]) -> bool:
    if command.danger is Danger.NONE:
        return True
    question = await app.source.consequence(command.name, arguments)
    if question is None:
        return True
    ask = (
        TypeName(question, name=arguments["backend"])
        if command.danger is Danger.TYPE_NAME
        else Confirm(question, yes=label(command))
    )
    return await app.push_screen_wait(ask) is True


async def _value(
    app: NexusApp,
    command: Command,
    argument: Argument,
    selection: Selection,
    given: Mapping[str, Any],
) -> str | None:
    """One argument: what is selected, or what the user says. None: the user backed out. `given` are
    those before it."""
    snapshot = app.source.snapshot()
    view = next((one for one in snapshot.backends if one.name == selection.backend), None)
    match argument.kind:
        case "backend":
            return selection.backend or await _choose_backend(app, command, snapshot)
        case "destination":
            return await _choose_destination(app, command, snapshot, given)
        case "model":
            return selection.model or await _choose_model(app, command, snapshot, view)
        case "request" if selection.request:
            return selection.request
        case "key" | "alias" | "fallback" | "request":
            return await _choose_named(app, command, argument, snapshot)
        case "switch":  # the one of the gateway: the other way round
            return "off" if snapshot.airplane else "on"
        case "zone":
            zones = [Choice(zone.label, f"{zone.label:<13} {_ZONES[zone]}") for zone in Zone]
            current = view.zone.label if view else None
            question = _question(command, view)
            return await app.push_screen_wait(Choose(question, zones, current=current))
        case kind:
            of = view if any(one.kind == "backend" for one in command.arguments) else None
            hint = _HINTS.get(kind, argument.help) if of else f"{argument.help} Enter sets it."
            value = _current(argument, of) or _written(argument, selection, given, snapshot)
            return await app.push_screen_wait(Ask(_question(command, of), hint=hint, value=value))


def _question(command: Command, view: BackendView | None) -> str:
    return f"{label(command)} of {view.name}" if view else command.help


def _current(argument: Argument, view: BackendView | None) -> str:
    value = getattr(view, argument.name, "")
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _written(
    argument: Argument, selection: Selection, given: Mapping[str, Any], snapshot: Snapshot
) -> str:
    """What stands there already, to be changed: an alias's model, a model's fallbacks; else, for
    a model, the one under the cursor."""
    if argument.kind == "words":
        return ", ".join(snapshot.fallbacks.get(given.get("model", ""), ()))
    if argument.kind != "target":
        return ""
    return snapshot.aliases.get(given.get("alias", "")) or selection.model or ""


async def _choose_backend(app: NexusApp, command: Command, snapshot: Snapshot) -> str | None:
    choices = [Choice(view.name, view.name) for view in snapshot.backends]
    if not choices:
        raise CommandError("There is no backend yet. Press a to add one by its URL.")
    return await app.push_screen_wait(Choose(f"{label(command)}: which backend?", choices))


async def _choose_named(
    app: NexusApp, command: Command, argument: Argument, snapshot: Snapshot
) -> str | None:
    choices = [Choice(name, text) for name, text in named(argument.kind, snapshot).items()]
    if not choices:
        raise CommandError(_NONE[argument.kind])
    question = f"{label(command)}: which {argument.name}?"
    return await app.push_screen_wait(Choose(question, choices))


async def _choose_destination(
    app: NexusApp, command: Command, snapshot: Snapshot, given: Mapping[str, Any]
) -> str | None:
    model, here = given["model"], given["backend"]
    choices = [
        Choice(view.name, view.name)
        for view in snapshot.backends
        if view.name != here and any(one.id == model for one in view.models)
    ]
    if not choices:
        raise CommandError(f"No other backend has {clean(model)}. Download it there first.")
    question = f"{label(command)} {clean(model)} to which backend?"
    return await app.push_screen_wait(Choose(question, choices))


async def _choose_model(
    app: NexusApp, command: Command, snapshot: Snapshot, view: BackendView | None
) -> str | None:
    known: Iterable[str] = snapshot.pins if view is None else (one.id for one in view.models)
    where = "pinned" if view is None else f"on {clean(view.name)}"
    pinned = set(view.pinned_models if view else snapshot.pins)
    choices = [Choice(id_, f"{STAR} {id_}" if id_ in pinned else id_) for id_ in known]
    if not choices:
        raise CommandError(f"There is no model {where}.")
    if len(choices) == 1:
        return choices[0].value
    return await app.push_screen_wait(Choose(f"{label(command)}: which model {where}?", choices))
