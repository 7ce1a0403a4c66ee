"""THE table of operator verbs. Keys, palette, CLI and management API all run these and no others.

A verb is one row: its name, what it says of itself, its arguments, what must be asked before it
runs, and the function that does it and tells what would undo it. The rows stand in one module for
each noun. Handlers act through `Operations`, which the runtime is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus_proxy.commands.arguments import typed
from nexus_proxy.commands.backends import BACKENDS
from nexus_proxy.commands.base import Act, Argument, Command, Danger, Operations, Removed, Result
from nexus_proxy.commands.gateway import GATEWAY
from nexus_proxy.commands.loading import LOADING
from nexus_proxy.commands.models import MODELS, pin
from nexus_proxy.commands.settings import SETTINGS
from nexus_proxy.errors import NotFoundError

__all__ = ["Act", "Argument", "Command", "Danger", "Operations", "Removed", "Result", "pin"]

COMMANDS: tuple[Command, ...] = (*BACKENDS, *MODELS, *LOADING, *GATEWAY, *SETTINGS)

BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}


def prepare(name: str, raw: Mapping[str, Any]) -> tuple[Command, dict[str, Any]]:
    """Look a verb up and turn its raw arguments (text, or JSON values) into typed ones.

    Raises `NotFoundError` for an unknown verb, `CommandError` for arguments that do not fit.
    """
    command = BY_NAME.get(name)
    if command is None:
        raise NotFoundError(f"no command {name!r}; there are: {', '.join(BY_NAME)}")
    return command, typed(command, raw)


async def run(operations: Operations, name: str, raw: Mapping[str, Any]) -> Result:
    """Run a verb. Raises `CommandError` (or its child `NotFoundError`) with the reason."""
    command, arguments = prepare(name, raw)
    return await command.handler(operations, arguments)


def consequence(operations: Operations, name: str, raw: Mapping[str, Any]) -> str | None:
    """What must be asked before the verb runs, as a question; None: nothing."""
    command, arguments = prepare(name, raw)
    if command.consequence is None:
        return None
    return command.consequence(operations, arguments)
