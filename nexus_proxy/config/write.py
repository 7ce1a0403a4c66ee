"""Writes what the UI or the CLI changed back into the user's file, which stays the user's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from nexus_proxy.config.atomic import content, replace
from nexus_proxy.config.document import Document, parse
from nexus_proxy.config.keys import KeyPath
from nexus_proxy.config.load import problems
from nexus_proxy.config.model import BackendConfig, KeyConfig
from nexus_proxy.config.paths import config_file
from nexus_proxy.errors import CommandError, ConfigError

log = logging.getLogger(__name__)

Change = Callable[[dict[str, Any]], None]
"""Changes the values of the file as `tomllib` reads them, in place."""

_BARE_KEY = KeyConfig(name="", hash="")

ATTEMPTS = 3
"""How often a write starts again because somebody else saved the file meanwhile."""


class ConfigFile:
    """The file in use, or the user's own file, which the first write makes.

    Every method reads the file anew, changes as few lines as it can, and replaces the file in one
    step, but only with a text that would load. Comments, order and layout are kept. All raise
    `CommandError` where that fails. `is_live`: a gateway runs with the change already.
    """

    def __init__(self, path: Path | None, *, is_live: bool = True) -> None:
        self.path = path or config_file()
        self._is_live = is_live

    def text(self) -> str:
        """The file as it is now; empty where there is none. Raises `OSError`."""
        return content(self.path).decode("utf-8-sig")

    def ahead(self) -> ConfigFile:
        """The same file, for a change that no gateway runs with yet."""
        return ConfigFile(self.path, is_live=False)

    def add_backend(self, entry: BackendConfig) -> None:
        """Append an entry, with the keys that differ from their default."""
        self._change(lambda tree: tree.setdefault("backends", []).append(_fresh(entry)))

    def put_backend(self, entry: BackendConfig) -> None:
        """Change the keys that differ in the entry of that name, or append it."""

        def put(tree: dict[str, Any]) -> None:
            entries = tree.setdefault("backends", [])
            for old in entries:
                if old["name"] == entry.name:
                    _adapt(old, entry)
                    return
            entries.append(_fresh(entry))

        self._change(put)

    def remove_backend(self, name: str) -> None:
        """Remove an entry, and the pins to it. Nothing happens where there is none."""

        def remove(tree: dict[str, Any]) -> None:
            tree["backends"] = [e for e in tree.get("backends", ()) if e["name"] != name]
            if not tree["backends"]:
                del tree["backends"]
            pins = tree.get("routing", {}).get("pins", {})
            for model in [model for model, backend in pins.items() if backend == name]:
                del pins[model]

        self._change(remove)

    def add_key(self, entry: KeyConfig) -> None:
        """Append an API key, with the keys that differ from their default."""
        self._change(lambda tree: tree.setdefault("keys", []).append(_fresh(entry)))

    def remove_key(self, name: str) -> None:
        """Remove an API key. Nothing happens where there is none."""

        def remove(tree: dict[str, Any]) -> None:
            tree["keys"] = [entry for entry in tree.get("keys", ()) if entry["name"] != name]
            if not tree["keys"]:
                del tree["keys"]

        self._change(remove)

    def set_pin(self, model: str, backend: str) -> None:
        """Keep that a model goes to one backend first."""
        self.place(("routing", "pins", model), backend)

    def remove_pin(self, model: str) -> None:
        """Forget a pin. Nothing happens where there is none."""
        self.discard(("routing", "pins", model))

    def set(self, key: str, value: str | bool | int | float) -> None:
        """Set one value by its dotted key, e.g. `routing.strategy`."""
        self.place(tuple(key.split(".")), value)

    def place(self, path: KeyPath, value: object) -> None:
        """Set the value at `path`; backends and API keys are named in it by their name."""
        self._change(lambda tree: _place(tree, path, value))

    def discard(self, path: KeyPath) -> None:
        """Remove the key at `path`. Nothing happens where there is none."""
        self._change(lambda tree: _discard(tree, path))

    def drafted(self, path: KeyPath, value: object) -> tuple[str, str]:
        """The text of the file as it is, and with the value set; None: with the key removed."""

        def change(tree: dict[str, Any]) -> None:
            if value is None:
                _discard(tree, path)
            else:
                _place(tree, path, value)

        try:
            raw = content(self.path)
            new = self._changed(raw, change)
        except OSError as error:
            raise self._not_kept((error.strerror or str(error)).lower()) from None
        except ConfigError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise CommandError(f"{error.key}: {error.problem}{hint}") from None
        return raw.decode("utf-8-sig"), new.decode("utf-8-sig")

    def _change(self, change: Change) -> None:
        try:
            if not any(self._attempt(change) for _ in range(ATTEMPTS)):
                raise self._not_kept("another program keeps changing it")
        except OSError as error:
            raise self._not_kept((error.strerror or str(error)).lower()) from None
        except ConfigError as error:
            raise self._not_kept(f"it would not load: {error}") from None

    def _attempt(self, change: Change) -> bool:
        """Whether the change stands in the file now."""
        raw = content(self.path)
        data = self._changed(raw, change)
        return data == raw or replace(self.path, data, expected=raw)

    def _changed(self, raw: bytes, change: Change) -> bytes:
        """The file's text once its values are changed. Raises `ConfigError`: it would not load."""
        document = _sound(parse(raw, str(self.path)))
        wanted = deepcopy(document.data)
        change(wanted)
        if wanted == document.data:
            return raw
        _sound(Document(str(self.path), wanted))
        return self._edited(raw, document.data, wanted)

    def _edited(self, raw: bytes, old: dict[str, Any], new: dict[str, Any]) -> bytes:
        from nexus_proxy.config.edit import edit

        try:
            data = edit(raw.decode("utf-8-sig"), old, new).encode()
            if parse(data, str(self.path)).data == new:
                return data
        except Exception:  # whatever tomlkit trips over in an odd layout, nothing is lost yet
            log.debug("tomlkit cannot edit %s", self.path, exc_info=True)
        raise self._not_kept("its layout is one that Nexus cannot edit")

    def _not_kept(self, reason: str) -> CommandError:
        if not self._is_live:
            return CommandError(f"{self.path} was not changed: {reason}.")
        return CommandError(
            f"The change is live, but it was not kept in {self.path}, and ends with this run: "
            f"{reason}."
        )


def _sound(document: Document) -> Document:
    """The document, if nothing is wrong with it. Raises `ConfigError`."""
    if wrong := problems(document):
        raise wrong[0]
    return document


def _place(tree: dict[str, Any], path: KeyPath, value: object) -> None:
    *tables, key = path
    at: Any = tree
    for table in tables:
        at = _entry(at, table) if isinstance(at, list) else at.setdefault(table, {})
    at[key] = value


def _discard(tree: dict[str, Any], path: KeyPath) -> None:
    *tables, key = path
    at: Any = tree
    for table in tables:
        at = _entry(at, table) if isinstance(at, list) else at.get(table, {})
    at.pop(key, None)


def _entry(entries: list[Any], which: str | int) -> Any:
    """The table of a list that is called `which`, or stands at that place."""
    if isinstance(which, int):
        return entries[which]
    found = next((entry for entry in entries if entry.get("name") == which), None)
    if found is None:
        raise CommandError(f"{which!r} does not stand in the file any more")
    return found


def _fresh(entry: BackendConfig | KeyConfig) -> dict[str, Any]:
    bare = BackendConfig(name="", url="") if isinstance(entry, BackendConfig) else _BARE_KEY
    defaults = msgspec.to_builtins(bare)
    given: dict[str, Any] = msgspec.to_builtins(entry)
    return {key: value for key, value in given.items() if value != defaults[key]}


def _adapt(old: dict[str, Any], entry: BackendConfig) -> None:
    """Change a valid entry of the file so that it says the same as `entry`."""
    said = {**old, "zone": old["zone"].lower()} if "zone" in old else old
    before = msgspec.to_builtins(msgspec.convert(said, BackendConfig))
    for key, value in msgspec.to_builtins(entry).items():
        if value is None:
            old.pop(key, None)
        elif value != before[key]:
            old[key] = value
