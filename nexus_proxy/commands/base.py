"""What a verb is, and what its handler may touch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from nexus_proxy.config.model import BackendConfig, BackendType, Config, Loaded, Zone
    from nexus_proxy.config.write import ConfigFile
    from nexus_proxy.lifecycle.service import Lifecycle
    from nexus_proxy.registry import Registry
    from nexus_proxy.state import RequestView


class Removed(Struct, frozen=True):
    """What brings a removed backend back: its entry, and the models that were pinned to it."""

    entry: BackendConfig
    pins: tuple[str, ...]


class Operations(Protocol):
    """What handlers may touch."""

    registry: Registry
    lifecycle: Lifecycle
    removed: dict[str, Removed]
    """By name: what was removed since the start."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        ...

    @property
    def loaded(self) -> Loaded:
        """The same, and where each value came from."""
        ...

    @property
    def config_file(self) -> ConfigFile:
        """Where changes of it are kept."""
        ...

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

    def running_request(self, request_id: str) -> RequestView | None:
        """A request that runs in this process."""
        ...

    async def cancel_request(self, request_id: str) -> None:
        """End a request, in whichever process it runs. Raises `NotFoundError`, and `CommandError`
        where it is answered already."""
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
    """One argument. `kind` is `backend`, `model`, `key`, `request`, `zone`, `type`, `url`, `int`,
    `words`, `switch` (`on` or `off`), `alias` (one that is set), `fallback` (a model that has
    some), `target` (a model that may not be there yet), `destination` (another backend), `setting`
    (a dotted key of the configuration), `value` (what may stand there) or `text`."""

    name: str
    kind: str
    help: str
    required: bool = True


class Act(Struct, frozen=True):
    """A verb to be run, with its arguments as JSON has them."""

    verb: str
    arguments: dict[str, Any]


class Result(Struct, frozen=True, kw_only=True):
    """What a verb did, as a sentence, and data for programs. `inverse` undoes it; None where
    nothing does, or nothing was changed."""

    message: str
    data: dict[str, Any] = {}
    inverse: Act | None = None


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


BACKEND = Argument(name="backend", kind="backend", help="Name of the backend.")
MODEL = Argument(name="model", kind="model", help="Model id or alias.")
