"""Verbs on the configuration: one key at a time, kept in the file and live at once."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from nexus_proxy.commands.backends import loosening
from nexus_proxy.commands.base import (
    Act,
    Argument,
    Arguments,
    Command,
    Danger,
    Operations,
    Result,
)
from nexus_proxy.commands.gateway import grounding
from nexus_proxy.config.keys import KeyPath, dotted, literal
from nexus_proxy.config.model import Zone
from nexus_proxy.config.settings import (
    effective,
    find,
    is_late,
    is_map,
    overriding,
    read,
    stands_in_file,
    text_diff,
)
from nexus_proxy.errors import CommandError

_KEY = Argument(name="key", kind="setting", help="Dotted key, such as routing.strategy.")


class Draft(Struct, frozen=True, kw_only=True):
    """What a change would come to. `notes` are sentences; `diff` is what the file would become."""

    key: str
    value: Any
    notes: tuple[str, ...]
    diff: tuple[str, ...]


def draft(operations: Operations, key: str, given: Any) -> Draft:
    """What it would come to if `key` were set to `given`, or taken out of the file (None).

    Raises `CommandError` with what is wrong about it, and `NotFoundError` for an unknown key.
    """
    path, _now = find(key, operations.loaded)
    _refuse_made_elsewhere(path)
    value = None if given is None else read(path, given)
    before, after = operations.config_file.ahead().drafted(path, value)
    return Draft(
        key=key, value=value, notes=_notes(operations, key, value), diff=text_diff(before, after)
    )


def _refuse_made_elsewhere(path: KeyPath) -> None:
    if path[0] == "keys":
        raise CommandError("API keys are made with `nexus keys create` and taken back by revoking")
    if path[0] == "backends" and path[-1] == "name":
        raise CommandError("a backend keeps its name: remove it and add it under another")
    if is_map(path):
        raise CommandError(f"{dotted(path)} is a table: set its keys, {dotted(path)}.NAME each")


def _notes(operations: Operations, key: str, value: Any) -> tuple[str, ...]:
    notes = []
    if is_late(key):
        notes.append("It takes effect with the next start.")
    if origin := overriding(key, operations.loaded):
        notes.append(f"{origin} counts over the file: nothing changes while that is set.")
    if asked := _asked_elsewhere(operations, key, value):
        notes.append(asked)
    return tuple(notes)


def _asked_elsewhere(operations: Operations, key: str, value: Any) -> str | None:
    """What the verb that is made for a key would ask."""
    if key == "routing.airplane" and value is not None:
        return grounding(operations, {"state": value})
    path, _now = find(key, operations.loaded)
    if path[0] == "backends" and path[-1] == "zone" and path[1] in operations.registry:
        zone = Zone.parse(value) if value else Zone.OPEN
        return loosening(operations, {"backend": path[1], "zone": zone})
    return None


async def _set(operations: Operations, arguments: Arguments) -> Result:
    return await _change(operations, arguments["key"], arguments["value"])


async def _unset(operations: Operations, arguments: Arguments) -> Result:
    return await _change(operations, arguments["key"], None)


async def _change(operations: Operations, key: str, given: Any) -> Result:
    meant = draft(operations, key, given)
    path, before = find(key, operations.loaded)
    was_written = stands_in_file(key, operations.loaded)
    file = operations.config_file.ahead()
    if given is None:
        file.discard(path)
    else:
        file.place(path, meant.value)
    changes = await operations.reload_config()
    return Result(
        message=_said(operations, meant),
        data={"diff": list(changes)},
        inverse=_inverse(meant, before if was_written else None),
    )


def _said(operations: Operations, meant: Draft) -> str:
    if meant.value is not None:
        said = f"{meant.key} is set to {literal(meant.value)}"
    else:
        now = effective(meant.key, operations.loaded)
        said = f"{meant.key} is not in the file any more" + (f", and is {now}" if now else "")
    late = "; it takes effect with the next start" if is_late(meant.key) else ""
    return said + late


def _inverse(meant: Draft, before: Any) -> Act | None:
    """`before` is what the file said, None: nothing."""
    if before == meant.value:
        return None
    if before is None:
        return Act("config.unset", {"key": meant.key})
    return Act("config.set", {"key": meant.key, "value": before})


def _setting(operations: Operations, arguments: Arguments) -> str | None:
    meant = draft(operations, arguments["key"], arguments["value"])
    return _question(operations, meant, f"Set {meant.key} to {literal(meant.value)}?")


def _unsetting(operations: Operations, arguments: Arguments) -> str | None:
    meant = draft(operations, arguments["key"], None)
    return _question(operations, meant, f"Take {meant.key} out of the file?")


def _question(operations: Operations, meant: Draft, asked: str) -> str | None:
    if not meant.diff:
        return None
    file = f"{operations.config_file.path} becomes:"
    return "\n".join((asked, *meant.notes, file, *meant.diff))


async def _reload(operations: Operations, _arguments: Arguments) -> Result:
    diff = await operations.reload_config()
    return Result(message="; ".join(diff) or "nothing changed", data={"diff": list(diff)})


SETTINGS: tuple[Command, ...] = (
    Command(
        name="config.set",
        title="Config: set",
        help="Set one key of the configuration file, at once and for good.",
        arguments=(_KEY, Argument(name="value", kind="value", help="Text, number, list …")),
        handler=_set,
        danger=Danger.CONFIRM,
        consequence=_setting,
    ),
    Command(
        name="config.unset",
        title="Config: unset",
        help="Take one key out of the configuration file, back to its default.",
        arguments=(_KEY,),
        handler=_unset,
        danger=Danger.CONFIRM,
        consequence=_unsetting,
    ),
    Command(
        name="config.reload",
        title="Config: reload",
        help="Read the file again and apply it.",
        handler=_reload,
    ),
)
