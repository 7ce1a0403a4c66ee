"""Verbs on what backends have in memory. Each begins an operation, which goes on by itself."""

from __future__ import annotations

from msgspec import to_builtins

from nexus_proxy.commands.base import (
    BACKEND,
    MODEL,
    Act,
    Argument,
    Arguments,
    Command,
    Danger,
    Operations,
    Result,
)
from nexus_proxy.commands.traffic import finishing
from nexus_proxy.lifecycle.operation import sentence
from nexus_proxy.state import OperationView


async def _load(operations: Operations, arguments: Arguments) -> Result:
    was_loaded = _is_loaded(operations, arguments)
    begun = operations.lifecycle.load(arguments["model"], arguments["backend"])
    return _result(begun, None if was_loaded else Act("model.unload", dict(arguments)))


async def _unload(operations: Operations, arguments: Arguments) -> Result:
    was_loaded = _is_loaded(operations, arguments)
    begun = operations.lifecycle.unload(arguments["model"], arguments["backend"])
    return _result(begun, Act("model.load", dict(arguments)) if was_loaded else None)


def _is_loaded(operations: Operations, arguments: Arguments) -> bool:
    info = operations.registry.get(arguments["backend"]).models.get(arguments["model"])
    return info is not None and info.loaded is True


async def _migrate(operations: Operations, arguments: Arguments) -> Result:
    model, source, target = (arguments[name] for name in ("model", "backend", "target"))
    begun = operations.lifecycle.migrate(model, source, target)
    back = {"model": model, "backend": target, "target": source}
    return _result(begun, Act("model.migrate", back))


def _result(begun: OperationView, inverse: Act | None) -> Result:
    data = {"operation": to_builtins(begun)}
    return Result(message=sentence(begun), data=data, inverse=inverse)


def _unloading(operations: Operations, arguments: Arguments) -> str | None:
    model, backend = arguments["model"], operations.registry.get(arguments["backend"])
    others = [b for b in operations.registry.serving(model) if b is not backend]
    running = backend.running.get(model, 0)
    if others and not running:
        return None
    alone = "" if others else "; nobody else serves it, so the next request loads it again"
    first = f"{finishing(running)} first" if running else "Nothing runs on it"
    return f"Unload {model} on {backend.name}? {first}{alone}"


LOADING: tuple[Command, ...] = (
    Command(
        name="model.load",
        title="Model: load",
        help="Load a model into memory before somebody asks for it.",
        arguments=(MODEL, BACKEND),
        handler=_load,
        key="l",
    ),
    Command(
        name="model.unload",
        title="Model: unload",
        help="Free its memory, once what runs on it has finished.",
        arguments=(MODEL, BACKEND),
        handler=_unload,
        danger=Danger.CONFIRM,
        consequence=_unloading,
    ),
    Command(
        name="model.migrate",
        title="Model: migrate",
        help="Load a model on another backend, then unload it here; no request is dropped.",
        arguments=(
            MODEL,
            BACKEND,
            Argument(name="target", kind="destination", help="Name of the backend it goes to."),
        ),
        handler=_migrate,
    ),
)
