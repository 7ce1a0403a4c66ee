"""Backends from the configuration file: wanted by a person, so listed at once and trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.address import canonical, normalise
from nexus_proxy.config.model import BackendConfig, BackendType, Zone
from nexus_proxy.discovery.zones import zone_of
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import Source


class Configured:
    """Keeps the list in step with the `[[backends]]` of the file.

    `drop` takes a backend off the list without the removal counting as an operator's wish. `share`
    is this process's part of a `max_concurrent`.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        drop: Callable[[str], None],
        note: Callable[[str], None],
        share: Callable[[int | None], int | None],
    ) -> None:
        self._registry = registry
        self._drop = drop
        self._note = note
        self._share = share
        self._entries: dict[str, BackendConfig] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def apply(self, entries: Iterable[BackendConfig]) -> None:
        """Add, remove and reconfigure. What did not change is not touched; requests in flight
        finish wherever they are."""
        wanted = {entry.name: entry for entry in entries}
        before, self._entries = self._entries, wanted
        for name in before.keys() - wanted.keys():
            if name in self._registry:
                self._drop(name)
        for name, entry in wanted.items():
            if before.get(name) != entry or name not in self._registry:
                try:
                    self._take(entry)
                except ValueError as error:
                    self._note(f"the configured backend {name!r} is not listed: {error}")

    def _take(self, entry: BackendConfig) -> None:
        backend = from_entry(entry)
        backend.max_concurrent = self._share(entry.max_concurrent)
        there = self._registry.get(entry.name) if entry.name in self._registry else None
        if there is not None and there.url == backend.url:
            self._reconfigure(there, entry)
            return
        twin = self._registry.at(backend.address)
        if twin is not None and twin.name != entry.name and twin.name in self._entries:
            raise ValueError(f"{backend.url} is the configured backend {twin.name!r} already")
        for stale in {old.name for old in (there, twin) if old is not None}:
            self._drop(stale)
        self._registry.add(backend)

    def _reconfigure(self, backend: Backend, entry: BackendConfig) -> None:
        if not backend.accepted:
            self._registry.accept(backend.name)
        if entry.type is not None and entry.type is not backend.type:
            self._registry.retype(backend.name, entry.type, adapter_for(entry.type).traits)
        settings = {**_settings(entry), "max_concurrent": self._share(entry.max_concurrent)}
        self._registry.configure(backend.name, **settings)


def from_entry(entry: BackendConfig) -> Backend:
    """The backend that a `[[backends]]` entry describes.

    Without a `type` it is `generic` until the health checker has reached it and asked. Raises
    `ValueError` where the URL cannot be a backend's.
    """
    url = normalise(entry.url)
    type_ = entry.type or BackendType.GENERIC
    traits = adapter_for(type_).traits
    return Backend(
        name=entry.name,
        url=url,
        address=canonical(url),
        type=type_,
        traits=traits,
        source=Source.CONFIG,
        origin="in the config file",
        answers_while_busy=traits.answers_while_busy,
        **_settings(entry),
    )


def _settings(entry: BackendConfig) -> dict[str, Any]:
    """What the entry says beyond name, address and type, as `Registry.configure` takes it."""
    return {
        "zone": implied_zone(entry),
        "tier": entry.tier or 1,
        "priority": entry.priority,
        "tags": tuple(entry.tags),
        "enabled": entry.enabled,
        "drained": entry.drained,
        "max_concurrent": entry.max_concurrent,
        "allow_models": tuple(entry.models),
        "api_key_env": entry.api_key_env,
    }


def implied_zone(entry: BackendConfig) -> Zone:
    """The zone that an entry means: the one it names, or what its kind and address say."""
    if entry.zone:
        return Zone.parse(entry.zone)
    is_cloud = adapter_for(entry.type or BackendType.GENERIC).traits.is_cloud
    return Zone.OPEN if is_cloud else zone_of(normalise(entry.url))


def entry_of(backend: Backend, own: BackendConfig | None) -> BackendConfig:
    """The `[[backends]]` entry that would bring a backend back after a restart. What the file says
    already (`own`) is kept as it stands there."""
    entry = own or BackendConfig(
        name=backend.name,
        url=backend.url,
        type=backend.type,
        tier=backend.tier,
        api_key_env=backend.api_key_env,
        max_concurrent=backend.max_concurrent,
        models=list(backend.allow_models),
    )
    implied = own is not None and implied_zone(own) is backend.zone
    return msgspec.structs.replace(
        entry,
        priority=backend.priority,
        tags=list(backend.tags),
        enabled=backend.enabled and backend.accepted,
        drained=backend.drained,
        zone=entry.zone if implied else backend.zone.label,
    )
