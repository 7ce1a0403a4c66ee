"""Verbs on backends."""

from __future__ import annotations

from nexus_proxy.commands.base import (
    BACKEND,
    Act,
    Argument,
    Arguments,
    Command,
    Danger,
    Operations,
    Removed,
    Result,
)
from nexus_proxy.commands.traffic import (
    emptied,
    finishing,
    is_missed,
    moves,
    narrowed,
    preferred,
    takes,
)
from nexus_proxy.errors import CommandError, NotFoundError
from nexus_proxy.state import Source
from nexus_proxy.wording import plural


async def _add(operations: Operations, arguments: Arguments) -> Result:
    name = await operations.add_backend(
        arguments["url"],
        name=arguments.get("name"),
        type_=arguments.get("type"),
        zone=arguments.get("zone"),
    )
    operations.config_file.add_backend(operations.entry_for(name))
    backend = operations.registry.get(name)
    return Result(
        message=f"{name} added: {backend.type.value} at {backend.url}, "
        f"{backend.state.value}, {plural(len(backend.models), 'model')}",
        data={"backend": name, "type": backend.type.value, "state": backend.state.value},
        inverse=Act("backend.remove", {"backend": name}),
    )


def _keep(operations: Operations, name: str) -> None:
    """Write what a backend is now to the file; the demo's is gone after this run."""
    if operations.registry.get(name).source is not Source.DEMO:
        operations.config_file.put_backend(operations.entry_for(name))


async def _remove(operations: Operations, arguments: Arguments) -> Result:
    registry, name = operations.registry, arguments["backend"]
    is_kept = registry.get(name).source is not Source.DEMO
    if is_kept:
        pins = tuple(model for model, backend in registry.pins.items() if backend == name)
        operations.removed[name] = Removed(operations.entry_for(name), pins)
    backend = registry.remove(name)
    operations.config_file.remove_backend(name)
    return Result(
        message=f"{name} removed; {finishing(backend.in_flight)}",
        inverse=Act("backend.restore", {"backend": name}) if is_kept else None,
    )


async def _restore(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    gone = operations.removed.get(name)
    if gone is None:
        known = ", ".join(operations.removed) or "none"
        raise NotFoundError(
            f"there is no {name!r} to bring back (removed since the start: {known})"
        )
    if name in operations.registry:
        raise CommandError(f"a backend called {name!r} is there already")
    await operations.reload_config()  # so that its entry is a change, however soon it comes back
    file = operations.config_file.ahead()
    file.put_backend(gone.entry)
    for model in gone.pins:
        file.set_pin(model, name)
    await operations.reload_config()
    del operations.removed[name]
    return Result(
        message=f"{name} is back: {await operations.check_backend(name)}",
        inverse=Act("backend.remove", {"backend": name}),
    )


async def _accept(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    backend = operations.registry.get(name)
    was = backend.accepted and backend.enabled
    operations.registry.accept(name)
    _keep(operations, name)
    return Result(
        message=f"{name} accepted: {await operations.check_backend(name)}",
        inverse=None if was else Act("backend.disable", {"backend": name}),
    )


async def _disable(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    backend = operations.registry.get(name)
    was = backend.accepted and backend.enabled
    operations.registry.disable(name)
    _keep(operations, name)
    return Result(
        message=f"{name} is disabled: {finishing(backend.in_flight)}, none start until it "
        "is accepted again",
        inverse=Act("backend.accept", {"backend": name}) if was else None,
    )


async def _drain(operations: Operations, arguments: Arguments) -> Result:
    return _switched(operations, arguments["backend"], drained=True)


async def _resume(operations: Operations, arguments: Arguments) -> Result:
    return _switched(operations, arguments["backend"], drained=False)


def _switched(operations: Operations, name: str, *, drained: bool) -> Result:
    backend = operations.registry.get(name)
    was = backend.drained
    operations.registry.set_drained(name, drained)
    _keep(operations, name)
    left = f"{finishing(backend.in_flight)}, no new requests start"
    left += moves(operations, backend.models, {name})
    undo = "backend.resume" if drained else "backend.drain"
    return Result(
        message=f"{name} drains: {left}" if drained else f"{name} takes requests again",
        inverse=None if was == drained else Act(undo, {"backend": name}),
    )


async def _zone(operations: Operations, arguments: Arguments) -> Result:
    name, zone = arguments["backend"], arguments["zone"]
    backend = operations.registry.get(name)
    before = backend.zone
    operations.registry.set_zone(name, zone)
    _keep(operations, name)
    loses = zone < before and takes(operations, backend)
    return Result(
        message=f"{name} is now in zone {zone.label}"
        + (narrowed(operations, backend, before) if loses else ""),
        inverse=_back("zone", name, before.label, zone.label),
    )


async def _priority(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    backend = operations.registry.get(name)
    before = backend.priority
    operations.registry.set_priority(name, arguments["priority"])
    _keep(operations, name)
    return Result(
        message=f"{name} now has priority {backend.priority}{preferred(operations, backend)}",
        inverse=_back("priority", name, before, backend.priority),
    )


async def _tags(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    before = operations.registry.get(name).tags
    operations.registry.set_tags(name, arguments["tags"])
    _keep(operations, name)
    return Result(
        message=f"{name} is now tagged {', '.join(arguments['tags']) or '(nothing)'}",
        inverse=_back("tags", name, list(before), list(arguments["tags"])),
    )


def _back(setting: str, name: str, before: object, now: object) -> Act | None:
    """What gives a backend the value back that it had."""
    if before == now:
        return None
    return Act(f"backend.{setting}", {"backend": name, setting: before})


async def _check(operations: Operations, arguments: Arguments) -> Result:
    return Result(message=await operations.check_backend(arguments["backend"]))


def _removal(operations: Operations, arguments: Arguments) -> str | None:
    return f"Remove {arguments['backend']}? " + emptied(operations, arguments["backend"])


def _disabling(operations: Operations, arguments: Arguments) -> str | None:
    backend = operations.registry.get(arguments["backend"])
    if not (backend.accepted and backend.enabled and is_missed(operations, backend)):
        return None
    return f"Disable {backend.name}? " + emptied(operations, backend.name)


def _draining(operations: Operations, arguments: Arguments) -> str | None:
    backend = operations.registry.get(arguments["backend"])
    if backend.drained or not is_missed(operations, backend):
        return None
    return f"Drain {backend.name}? " + emptied(operations, backend.name)


def loosening(operations: Operations, arguments: Arguments) -> str | None:
    """Which prompts a backend may be sent from now on; None: no others than before."""
    backend, zone = operations.registry.get(arguments["backend"]), arguments["zone"]
    if zone <= backend.zone:
        return None
    return (
        f"Move {backend.name} from {backend.zone.label} to {zone.label}? "
        f"Prompts that must stay in zone {zone.label} may then be sent to {backend.url}"
    )


BACKENDS: tuple[Command, ...] = (
    Command(
        name="backend.add",
        title="Backend: add",
        help="Find out what answers at a URL, check it and list it; kept in the config file.",
        arguments=(
            Argument(name="url", kind="url", help="With or without /v1."),
            Argument(name="name", kind="text", help="Name to give it.", required=False),
            Argument(name="type", kind="type", help="Skip the fingerprint.", required=False),
            Argument(name="zone", kind="zone", help="How closed it is.", required=False),
        ),
        handler=_add,
        key="a",
    ),
    Command(
        name="backend.remove",
        title="Backend: remove",
        help="Forget a backend; running requests finish.",
        arguments=(BACKEND,),
        handler=_remove,
        key="x",
        danger=Danger.CONFIRM,
        consequence=_removal,
    ),
    Command(
        name="backend.restore",
        title="Backend: restore",
        help="List a backend again that was removed since the start, as it was.",
        arguments=(Argument(name="backend", kind="text", help="The name that it had."),),
        handler=_restore,
    ),
    Command(
        name="backend.accept",
        title="Backend: accept",
        help="Let a backend that was found by itself have traffic.",
        arguments=(BACKEND,),
        handler=_accept,
        key="y",
    ),
    Command(
        name="backend.disable",
        title="Backend: disable",
        help="Out of use until it is accepted again; running requests finish.",
        arguments=(BACKEND,),
        handler=_disable,
        danger=Danger.CONFIRM,
        consequence=_disabling,
    ),
    Command(
        name="backend.drain",
        title="Backend: drain",
        help="No new requests; running ones finish.",
        arguments=(BACKEND,),
        handler=_drain,
        key="d",
        danger=Danger.CONFIRM,
        consequence=_draining,
    ),
    Command(
        name="backend.resume",
        title="Backend: resume",
        help="Take requests again after a drain.",
        arguments=(BACKEND,),
        handler=_resume,
    ),
    Command(
        name="backend.zone",
        title="Backend: zone",
        help="Say how far prompts may travel with it.",
        arguments=(
            BACKEND,
            Argument(name="zone", kind="zone", help="open … restricted."),
        ),
        handler=_zone,
        key="z",
        danger=Danger.TYPE_NAME,
        consequence=loosening,
    ),
    Command(
        name="backend.priority",
        title="Backend: priority",
        help="Lower is preferred.",
        arguments=(BACKEND, Argument(name="priority", kind="int", help="0 and up.")),
        handler=_priority,
    ),
    Command(
        name="backend.tags",
        title="Backend: tags",
        help="Words of your own, for filters.",
        arguments=(BACKEND, Argument(name="tags", kind="words", help="Comma-separated.")),
        handler=_tags,
        key="t",
    ),
    Command(
        name="backend.check",
        title="Backend: check now",
        help="Probe it at once instead of waiting for the next check.",
        arguments=(BACKEND,),
        handler=_check,
        key="r",
    ),
)
