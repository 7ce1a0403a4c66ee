"""Verbs on models: where they go."""

from __future__ import annotations

from nexus_proxy.commands.base import BACKEND, MODEL, Arguments, Command, Operations, Result
from nexus_proxy.state import Source


async def _pin(operations: Operations, arguments: Arguments) -> Result:
    model, name = arguments["model"], arguments["backend"]
    operations.registry.pin(model, name)
    if operations.registry.get(name).source is not Source.DEMO:
        operations.config_file.set_pin(model, name)
    return Result(message=f"{model} goes to {name} first")


async def _unpin(operations: Operations, arguments: Arguments) -> Result:
    operations.registry.unpin(arguments["model"])
    operations.config_file.remove_pin(arguments["model"])
    return Result(message=f"{arguments['model']} is no longer pinned")


MODELS: tuple[Command, ...] = (
    Command(
        name="backend.pin",
        title="Model: pin",
        help="Send a model to one backend first.",
        arguments=(MODEL, BACKEND),
        handler=_pin,
        key="p",
    ),
    Command(
        name="backend.unpin",
        title="Model: unpin",
        help="Undo a pin.",
        arguments=(MODEL,),
        handler=_unpin,
    ),
)
