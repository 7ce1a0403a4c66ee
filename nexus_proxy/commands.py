"""THE table of operator verbs. Keys, palette, CLI and management API all run these and no others.

A verb is one row: its name, what it says of itself, its arguments, what must be asked before it
runs, and the function that does it. Handlers act through `Operations`, which the runtime is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from nexus_proxy.config.model import Zone
from nexus_proxy.errors import CommandError, NotFoundError
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.state import Source

if TYPE_CHECKING:
    from nexus_proxy.config.model import BackendConfig, BackendType
    from nexus_proxy.config.write import ConfigFile
    from nexus_proxy.registry import Registry


class Operations(Protocol):
    """What handlers may touch."""

    registry: Registry
    config_file: ConfigFile

    async def add_backend(
        self, url: str, *, name: str | None, type_: BackendType | None, zone: Zone | None
    ) -> str:
        """Fingerprint `url`, check it at once and list it. Returns the name it got."""
        ...

    async def check_backend(self, name: str) -> str:
        """Probe one backend now. Returns what was found, as a sentence."""
        ...

    async def reload_config(self) -> tuple[str, ...]:
        """Read the file again and apply it. Returns the diff, a line per key."""
        ...

    def entry_for(self, name: str) -> BackendConfig:
        """The `[[backends]]` entry that would bring this backend back after a restart."""
        ...

    def cloud_requests(self) -> int:
        """How many requests run on clouds now."""
        ...

    def revoke_key(self, name: str) -> None:
        """Let an API key in no more, from now on and after a restart."""
        ...


class Danger(Enum):
    """Whether a person is asked first."""

    NONE = "none"
    CONFIRM = "confirm"
    """Ask, with the consequence in numbers, Cancel first."""
    TYPE_NAME = "type name"
    """Ask for the backend's name to be typed: what cannot be undone."""


class Argument(Struct, frozen=True, kw_only=True):
    """One argument. `kind` is `backend`, `model`, `key`, `zone`, `type`, `url`, `int`, `words`,
    `switch` (`on` or `off`) or `text`."""

    name: str
    kind: str
    help: str
    required: bool = True


class Result(Struct, frozen=True, kw_only=True):
    """What a verb did, as a sentence, and data for programs."""

    message: str
    data: dict[str, Any] = {}


Arguments = Mapping[str, Any]
Handler = Callable[[Operations, Arguments], Awaitable[Result]]


class Command(Struct, frozen=True, kw_only=True):
    """One verb. `key` is the key that runs it in the terminal UI, where it has one.

    `consequence` says before the act what it will do to traffic, or None where that is nothing
    worth asking about; it is asked only where `danger` is not NONE.
    """

    name: str
    title: str
    help: str
    handler: Handler
    arguments: tuple[Argument, ...] = ()
    key: str | None = None
    danger: Danger = Danger.NONE
    consequence: Callable[[Operations, Arguments], str | None] | None = None


_BACKEND = Argument(name="backend", kind="backend", help="Name of the backend.")
_MODEL = Argument(name="model", kind="model", help="Model id or alias.")


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
    return Result(message=f"{backend.name} removed; {_requests(backend.in_flight)} finish on it")


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
    return Result(message=f"{name} drains: {_requests(left)} finish, no new ones start")


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


async def _check(operations: Operations, arguments: Arguments) -> Result:
    return Result(message=await operations.check_backend(arguments["backend"]))


async def _reload(operations: Operations, _arguments: Arguments) -> Result:
    diff = await operations.reload_config()
    return Result(message="; ".join(diff) or "nothing changed", data={"diff": list(diff)})


async def _airplane(operations: Operations, arguments: Arguments) -> Result:
    on, cut = arguments["state"], operations.cloud_requests()
    operations.registry.set_airplane(on)
    operations.config_file.set("routing.airplane", on)
    if not on:
        return Result(message="airplane mode is off: clouds get requests again")
    ended = f"; {_requests(cut)} to clouds cut" if cut else ""
    return Result(message=f"airplane mode is on: nothing is sent to clouds{ended}")


def _grounding(operations: Operations, arguments: Arguments) -> str | None:
    registry = operations.registry
    clouds = [
        b for b in registry if b.accepted and b.enabled and is_away(b.traits.is_cloud, b.zone)
    ]
    cut = operations.cloud_requests()
    if not arguments["state"] or registry.airplane or not (clouds or cut):
        return None
    names = {b.name for b in clouds}
    models = sorted({model for b in clouds for model in b.models})
    lonely = [m for m in models if all(b.name in names for b in registry.serving(m))]
    return (
        f"Turn airplane mode on? {_requests(cut)} to clouds {'is' if cut == 1 else 'are'} cut at "
        f"once{_nobody_else(lonely)}"
    )


async def _revoke(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["key"]
    operations.revoke_key(name)
    return Result(message=f"{name} revoked; requests that run with it finish")


def _revoking(_operations: Operations, arguments: Arguments) -> str | None:
    return f"Revoke {arguments['key']}? Whoever uses it is refused from now on, for good"


def _others_serving(operations: Operations, name: str) -> str:
    backend = operations.registry.get(name)
    lonely = [
        model
        for model in backend.models
        if not any(b.name != name for b in operations.registry.serving(model))
    ]
    return f"{_requests(backend.in_flight)} in flight will finish{_nobody_else(lonely)}"


def _nobody_else(models: list[str]) -> str:
    lost = f"; nobody else serves {', '.join(models[:3])}" if models else ""
    return f"{lost} and {len(models) - 3} more" if len(models) > 3 else lost


def _requests(count: int) -> str:
    return f"{count} request" if count == 1 else f"{count} requests"


def _removal(operations: Operations, arguments: Arguments) -> str | None:
    return f"Remove {arguments['backend']}? " + _others_serving(operations, arguments["backend"])


def _draining(operations: Operations, arguments: Arguments) -> str | None:
    backend = operations.registry.get(arguments["backend"])
    return f"Drain {backend.name}? " + _others_serving(operations, backend.name)


def _loosening(operations: Operations, arguments: Arguments) -> str | None:
    backend, zone = operations.registry.get(arguments["backend"]), arguments["zone"]
    if zone <= backend.zone:
        return None
    return (
        f"Move {backend.name} from {backend.zone.label} to {zone.label}? "
        f"Prompts that must stay in zone {zone.label} may then be sent to {backend.url}"
    )


COMMANDS: tuple[Command, ...] = (
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
        arguments=(_BACKEND,),
        handler=_remove,
        key="x",
        danger=Danger.CONFIRM,
        consequence=_removal,
    ),
    Command(
        name="backend.accept",
        title="Backend: accept",
        help="Let a backend that was found by itself have traffic.",
        arguments=(_BACKEND,),
        handler=_accept,
        key="y",
    ),
    Command(
        name="backend.drain",
        title="Backend: drain",
        help="No new requests; running ones finish.",
        arguments=(_BACKEND,),
        handler=_drain,
        key="d",
        danger=Danger.CONFIRM,
        consequence=_draining,
    ),
    Command(
        name="backend.resume",
        title="Backend: resume",
        help="Take requests again after a drain.",
        arguments=(_BACKEND,),
        handler=_resume,
    ),
    Command(
        name="backend.zone",
        title="Backend: zone",
        help="Say how far prompts may travel with it.",
        arguments=(
            _BACKEND,
            Argument(name="zone", kind="zone", help="open … restricted."),
        ),
        handler=_zone,
        key="z",
        danger=Danger.TYPE_NAME,
        consequence=_loosening,
    ),
    Command(
        name="backend.pin",
        title="Model: pin",
        help="Send a model to one backend first.",
        arguments=(_MODEL, _BACKEND),
        handler=_pin,
        key="p",
    ),
    Command(
        name="backend.unpin",
        title="Model: unpin",
        help="Undo a pin.",
        arguments=(_MODEL,),
        handler=_unpin,
    ),
    Command(
        name="backend.priority",
        title="Backend: priority",
        help="Lower is preferred.",
        arguments=(_BACKEND, Argument(name="priority", kind="int", help="0 and up.")),
        handler=_priority,
    ),
    Command(
        name="backend.tags",
        title="Backend: tags",
        help="Words of your own, for filters.",
        arguments=(_BACKEND, Argument(name="tags", kind="words", help="Comma-separated.")),
        handler=_tags,
        key="t",
    ),
    Command(
        name="backend.check",
        title="Backend: check now",
        help="Probe it at once instead of waiting for the next check.",
        arguments=(_BACKEND,),
        handler=_check,
        key="r",
    ),
    Command(
        name="gateway.airplane",
        title="Gateway: airplane mode",
        help="Send nothing to clouds, and cut what runs there.",
        arguments=(Argument(name="state", kind="switch", help="on or off."),),
        handler=_airplane,
        key="o",
        danger=Danger.CONFIRM,
        consequence=_grounding,
    ),
    Command(
        name="key.revoke",
        title="Key: revoke",
        help="Let an API key in no more; running requests finish.",
        arguments=(Argument(name="key", kind="key", help="Name of the API key."),),
        handler=_revoke,
        danger=Danger.CONFIRM,
        consequence=_revoking,
    ),
    Command(
        name="config.reload",
        title="Config: reload",
        help="Read the file again and apply it.",
        handler=_reload,
    ),
)

BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}


def prepare(name: str, raw: Mapping[str, Any]) -> tuple[Command, dict[str, Any]]:
    """Look a verb up and turn its raw arguments (text, or JSON values) into typed ones.

    Raises `NotFoundError` for an unknown verb, `CommandError` for arguments that do not fit.
    """
    command = BY_NAME.get(name)
    if command is None:
        raise NotFoundError(f"no command {name!r}; there are: {', '.join(BY_NAME)}")
    known = {argument.name for argument in command.arguments}
    if extra := sorted(set(raw) - known):
        raise CommandError(f"{name} takes no {', '.join(extra)} (it takes: {', '.join(known)})")
    typed = {}
    for argument in command.arguments:
        value = raw.get(argument.name)
        if value is None or value == "":
            if argument.required and argument.kind != "words":
                raise CommandError(f"{name} needs {argument.name}: {argument.help}")
            value = None if argument.kind != "words" else ()
        typed[argument.name] = None if value is None else _typed(argument, value)
    return command, typed


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


def _typed(argument: Argument, value: Any) -> Any:
    from nexus_proxy.config.model import BackendType

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
