"""The configuration in force, and how it changes while the gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from nexus_proxy.config.diff import diff
from nexus_proxy.config.load import load
from nexus_proxy.config.model import Config, KeyConfig, Loaded
from nexus_proxy.config.settings import is_late
from nexus_proxy.config.watch import watch
from nexus_proxy.config.write import ConfigFile
from nexus_proxy.errors import CommandError, ConfigError, NotFoundError
from nexus_proxy.events import Bus, ConfigReloaded
from nexus_proxy.tasks import spawn


class Configuration:
    """Owner of what is in force, `loaded`, and of the file that it came from.

    `explicit` and `flags` are what the command line said, kept so that a reload reads the same
    sources again. `problem` says why the file as it stands is not in force, if it is not.
    `on_reload` is told what was in force and what is now; `on_keys`, that the API keys changed and
    nothing else.
    """

    def __init__(
        self,
        loaded: Loaded,
        bus: Bus,
        *,
        environ: Mapping[str, str],
        explicit: str | None,
        flags: Mapping[str, object] | None,
        on_reload: Callable[[Config, Config], None],
        on_keys: Callable[[Config], None],
    ) -> None:
        self.loaded = loaded
        self.file = ConfigFile(Path(loaded.path) if loaded.path else None)
        self.problem: str | None = None
        self._bus, self._environ = bus, environ
        self._explicit, self._flags = explicit, dict(flags or {})
        self._on_reload, self._on_keys = on_reload, on_keys
        self._watching: asyncio.Task[None] | None = None

    @property
    def now(self) -> Config:
        """What is in force."""
        return self.loaded.config

    def watch(self) -> None:
        """Take over changes of the file from now on."""
        self._watching = spawn(watch(self.file.path, self._file_changed), name="config watch")

    def stop(self) -> None:
        """Watch the file no longer."""
        if self._watching is not None:
            self._watching.cancel()

    def reload(self) -> tuple[str, ...]:
        """Read the file again and apply it. Returns the diff, a line per key. Raises `ConfigError`;
        what is in force stays."""
        try:
            loaded = load(self._explicit, environ=self._environ, flags=self._flags, starting=False)
        except ConfigError as error:
            self.problem = error.message
            self._bus.publish(ConfigReloaded(error=error.message))
            raise
        self.problem = None
        before, self.loaded = self.now, loaded
        changes = tuple(map(_with_delay, diff(before, self.now)))
        if changes:
            self._on_reload(before, self.now)
            self._bus.publish(ConfigReloaded(diff=changes))
        return changes

    def add_key(self, entry: KeyConfig) -> None:
        """Keep a new API key in the file and let it in. Raises `CommandError`: nothing was done."""
        if any(entry.name == key.name for key in self.now.keys):
            raise CommandError(
                f"a key called {entry.name!r} exists already; revoke it or take another name"
            )
        # First the file: who gets an error has no secret, so that the key would be of no use.
        ConfigFile(self.file.path, is_live=False).add_key(entry)
        self._change_keys([*self.now.keys, entry])

    def revoke_key(self, name: str) -> None:
        """Let an API key in no more, from now on and after a restart. Raises `NotFoundError`."""
        left = [key for key in self.now.keys if key.name != name]
        if len(left) == len(self.now.keys):
            known = ", ".join(key.name for key in self.now.keys) or "none"
            raise NotFoundError(f"no key is called {name!r} (there are: {known})")
        self._change_keys(left)
        self.file.remove_key(name)

    def _change_keys(self, keys: list[KeyConfig]) -> None:
        config = msgspec.structs.replace(self.now, keys=keys)
        changes = diff(self.now, config)
        self.loaded = msgspec.structs.replace(self.loaded, config=config)
        self._on_keys(config)
        self._bus.publish(ConfigReloaded(diff=changes))

    async def _file_changed(self) -> None:
        try:
            self.reload()
        except ConfigError:
            return  # published and shown; what is in force stays


def _with_delay(line: str) -> str:
    """A line of the diff; says so if it takes a restart."""
    late = is_late(line.partition(":")[0])
    return f"{line} (from the next start on)" if late else line
