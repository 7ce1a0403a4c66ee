"""Verbs on backends."""

from __future__ import annotations

from nexus_proxy.commands.base import (
    BACKEND,
    Argument,
    Arguments,
    Command,
    Danger,
    Operations,
    Result,
)
from nexus_proxy.commands.traffic import others_serving, requests
from nexus_proxy.state import Source


async def _add(operations: Operations, arguments: Arguments) -> Result:
    zone = arguments.get("zone")
    type_ = arguments.get("type")
    name = await operations.add_backend(
        arguments["url"],
        name=arguments.get("name"),
        type_=type_,
        zone=zone,
    )
    operations.config_file.add_backend(operations.entry_for(name))
    backend = operations.registry.get(name)
    return Result(
        message=f"{name} added: {backend.type.value} at {backend.url}, "
        f"{backend.state.value}, {len(backend.models)} models",
        data={"backend": name, "type": backend.type.value, "state": backend.state.value},
    )


def _keep(operations: Operations, name: str) -> None:
    """Write what a backend is now to the file; the demo's is gone after this run."""
    if operations.registry.get(name).source is not Source.DEMO:
        operations.config_file.put_backend(operations.entry_for(name))


async def _remove(operations: Operations, arguments: Arguments) -> Result:
    backend = operations.registry.remove(arguments["backend"])
    operations.config_file.remove_backend(backend.name)
    return Result(message=f"{backend.name} removed; {requests(backend.in_flight)} finish on it")


async def _accept(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    operations.registry.accept(name)
    _keep(operations, name)
    return Result(message=f"{name} accepted: {await operations.check_backend(name)}")


async def _drain(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    operations.registry.set_drained(name, True)
    _keep(operations, name)
    left = operations.registry.get(name).in_flight
    return Result(message=f"{name} drains: {requests(left)} finish, no new ones start")


async def _resume(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    operations.registry.set_drained(name, False)
    _keep(operations, name)
    return Result(message=f"{name} takes requests again")


async def _zone(operations: Operations, arguments: Arguments) -> Result:
    name, zone = arguments["backend"], arguments["zone"]
    operations.registry.set_zone(name, zone)
    _keep(operations, name)
    return Result(message=f"{name} is now in zone {zone.label}")


async def _priority(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    operations.registry.set_priority(name, arguments["priority"])
    _keep(operations, name)
    return Result(message=f"{name} now has priority {operations.registry.get(name).priority}")


async def _tags(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["backend"]
    operations.registry.set_tags(name, arguments["tags"])
    _keep(operations, name)
    return Result(message=f"{name} is now tagged {', '.join(arguments['tags']) or '(nothing)'}")


async def _check(operations: Operations, arguments: Arguments) -> Result:
    return Result(message=await operations.check_backend(arguments["backend"]))


def _removal(operations: Operations, arguments: Arguments) -> str | None:
    return f"Remove {arguments['backend']}? " + others_serving(operations, arguments["backend"])


def _draining(operations: Operations, arguments: Arguments) -> str | None:
    backend = operations.registry.get(arguments["backend"])
    return f"Drain {backend.name}? " + others_serving(operations, backend.name)


def _loosening(operations: Operations, arguments: Arguments) -> str | None:
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
        name="backend.accept",
        title="Backend: accept",
        help="Let a backend that was found by itself have traffic.",
        arguments=(BACKEND,),
        handler=_accept,
        key="y",
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
        consequence=_loosening,
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
