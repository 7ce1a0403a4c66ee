"""Verbs on models: which backend and which other model their requests go to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from nexus_proxy.commands.base import (
    BACKEND,
    MODEL,
    Act,
    Argument,
    Arguments,
    Command,
    Operations,
    Result,
)
from nexus_proxy.commands.traffic import few, pinned
from nexus_proxy.errors import CommandError, NotFoundError, UnknownModelError
from nexus_proxy.routing.resolve import resolve
from nexus_proxy.routing.rules import Rules
from nexus_proxy.state import Source

T = TypeVar("T")


def pin(operations: Operations, model: str, name: str) -> None:
    """Send a model to one backend first, from now on and after a restart."""
    operations.registry.pin(model, name)
    if operations.registry.get(name).source is not Source.DEMO:
        operations.config_file.set_pin(model, name)


async def _pin(operations: Operations, arguments: Arguments) -> Result:
    model, name = arguments["model"], arguments["backend"]
    before = operations.registry.pins.get(model)
    pin(operations, model, name)
    backend = operations.registry.get(name)
    return Result(
        message=f"{model} goes to {name} first{pinned(operations, model, backend)}",
        inverse=None if before == name else _pinned_before(model, before),
    )


def _pinned_before(model: str, backend: str | None) -> Act:
    if backend is None:
        return Act("backend.unpin", {"model": model})
    return Act("backend.pin", {"model": model, "backend": backend})


async def _unpin(operations: Operations, arguments: Arguments) -> Result:
    model = arguments["model"]
    before = operations.registry.pins.get(model)
    operations.registry.unpin(model)
    operations.config_file.remove_pin(model)
    return Result(message=f"{model} is no longer pinned", inverse=_pinned_before(model, before))


async def _set_alias(operations: Operations, arguments: Arguments) -> Result:
    alias, model = arguments["alias"], arguments["model"]
    before = operations.config.routing.aliases.get(alias)
    await _place(operations, ("routing", "aliases", alias), model)
    hidden = operations.registry.serving(alias)
    hides = f"; the model of that name on {few(b.name for b in hidden)} is hidden" if hidden else ""
    return Result(
        message=f"{alias} stands for {model}{hides}{_unknown(operations, [model])}",
        inverse=None if before == model else _alias_before(alias, before),
    )


def _alias_before(alias: str, model: str | None) -> Act:
    if model is None:
        return Act("alias.remove", {"alias": alias})
    return Act("alias.set", {"alias": alias, "model": model})


async def _remove_alias(operations: Operations, arguments: Arguments) -> Result:
    alias = arguments["alias"]
    before = _known(alias, operations.config.routing.aliases, "is no alias")
    await _discard(operations, ("routing", "aliases", alias))
    return Result(message=f"{alias} is no longer an alias", inverse=_alias_before(alias, before))


async def _set_fallback(operations: Operations, arguments: Arguments) -> Result:
    model, others = arguments["model"], list(arguments["models"])
    if not others:
        raise CommandError("fallback.set needs models: which others are tried, the first first")
    before = operations.config.routing.fallbacks.get(model)
    await _place(operations, ("routing", "fallbacks", model), others)
    return Result(
        message=f"{model} falls back to {', then '.join(others)}"
        + _unknown(operations, [model, *others]),
        inverse=None if before == others else _fallback_before(model, before),
    )


def _fallback_before(model: str, models: list[str] | None) -> Act:
    if models is None:
        return Act("fallback.remove", {"model": model})
    return Act("fallback.set", {"model": model, "models": models})


async def _remove_fallback(operations: Operations, arguments: Arguments) -> Result:
    model = arguments["model"]
    before = _known(model, operations.config.routing.fallbacks, "has no fallbacks")
    await _discard(operations, ("routing", "fallbacks", model))
    return Result(
        message=f"{model} no longer falls back to other models",
        inverse=_fallback_before(model, before),
    )


async def _place(operations: Operations, path: tuple[str, ...], value: object) -> None:
    """First the file, whose rules refuse a circle; then what runs."""
    operations.config_file.ahead().place(path, value)
    await operations.reload_config()


async def _discard(operations: Operations, path: tuple[str, ...]) -> None:
    operations.config_file.ahead().discard(path)
    await operations.reload_config()


def _known(name: str, known: dict[str, T], what: str) -> T:
    if name not in known:
        raise NotFoundError(f"{name!r} {what} (there are: {', '.join(known) or 'none'})")
    return known[name]


def _unknown(operations: Operations, models: Iterable[str]) -> str:
    """A warning about the first name that leads to no model now."""
    rules = Rules(operations.config.routing)
    for model in models:
        try:
            resolve(model, operations.registry, rules)
        except UnknownModelError as error:
            return f". {error}"
    return ""


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
    Command(
        name="alias.set",
        title="Model: set alias",
        help="Let a name, or all that a glob matches, stand for a model.",
        arguments=(
            Argument(name="alias", kind="text", help="Name or glob that clients ask for."),
            Argument(name="model", kind="target", help="Model that is served for it."),
        ),
        handler=_set_alias,
    ),
    Command(
        name="alias.remove",
        title="Model: remove alias",
        help="Let a name stand for itself again.",
        arguments=(Argument(name="alias", kind="alias", help="Alias to remove."),),
        handler=_remove_alias,
    ),
    Command(
        name="fallback.set",
        title="Model: set fallbacks",
        help="Try other models, in this order, where a model cannot be served.",
        arguments=(
            Argument(name="model", kind="target", help="Model that may not be served."),
            Argument(name="models", kind="words", help="Models to try, the first first."),
        ),
        handler=_set_fallback,
    ),
    Command(
        name="fallback.remove",
        title="Model: remove fallbacks",
        help="Try no other models for this one.",
        arguments=(Argument(name="model", kind="fallback", help="Model that has fallbacks."),),
        handler=_remove_fallback,
    ),
)
