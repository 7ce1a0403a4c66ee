"""From what a person or a program said to the typed arguments of a verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus_proxy.commands.base import Argument, Command
from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.errors import CommandError


def typed(command: Command, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a verb from text, or JSON values. Raises `CommandError`: they do not fit."""
    known = {argument.name for argument in command.arguments}
    if extra := sorted(set(raw) - known):
        raise CommandError(
            f"{command.name} takes no {', '.join(extra)} (it takes: {', '.join(known)})"
        )
    found = {}
    for argument in command.arguments:
        value = raw.get(argument.name)
        if value is None or value == "":
            if argument.required and argument.kind != "words":
                raise CommandError(f"{command.name} needs {argument.name}: {argument.help}")
            value = None if argument.kind != "words" else ()
        found[argument.name] = None if value is None else _typed(argument, value)
    return found


def _typed(argument: Argument, value: Any) -> Any:
    try:
        match argument.kind:
            case "zone":
                return Zone.parse(str(value))
            case "switch":
                return _switch(value)
            case "int":
                return int(value)
            case "type":
                return BackendType(str(value))
            case "words":
                words = value.split(",") if isinstance(value, str) else value
                return tuple(str(word).strip() for word in words if str(word).strip())
            case "value":
                return value
            case _:
                return str(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise CommandError(f"{argument.name}: {error}") from None


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in ("on", "off"):
        raise ValueError(f"{value!r} is neither on nor off")
    return word == "on"
