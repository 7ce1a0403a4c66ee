"""What an operator did at one replica, and holds for all: drains and pins.

An act is a field and its value. Who acts last wins; an act that the store has lost is told again by
whoever knows of it. A backend is known by its address, and one on loopback by its machine too: the
Ollama of this laptop is not that of the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nexus_proxy.config.values import is_loopback
from nexus_proxy.store.redis import Script

if TYPE_CHECKING:
    from nexus_proxy.config.model import Config
    from nexus_proxy.registry import Backend, Registry

KEYS = ("nexus:{acts}",)
NOWHERE = ""
"""Where a model goes that is no longer pinned."""
LONGEST_LIST = 10_000
"""Acts that are kept; what comes beyond is not shared."""

TELL = Script(
    "tell",
    """
    for i = 2, #ARGV, 2 do
        if redis.call('HLEN', KEYS[1]) < tonumber(ARGV[1]) then
            redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        end
    end
    return redis.call('HGETALL', KEYS[1])
    """,
)

Act = tuple[str, str]


def draining(where: str, drained: bool) -> Act:
    """A drain or its end."""
    return f"drained {where}", "yes" if drained else "no"


def pinning(model: str, where: str) -> Act:
    """A pin, or its end (`NOWHERE`)."""
    return f"pinned {model}", where


def place_of(backend: Backend, machine: str) -> str:
    """By what all replicas know a backend."""
    host = backend.address.rpartition(":")[0].strip("[]")
    return f"{machine}/{backend.address}" if is_loopback(host) else backend.address


def acts_of(
    verb: str, arguments: Mapping[str, Any], registry: Registry, machine: str
) -> Iterator[Act]:
    """What a verb, that was run here just now, means for all."""
    if verb in {"backend.drain", "backend.resume"} and arguments["backend"] in registry:
        backend = registry.get(arguments["backend"])
        yield draining(place_of(backend, machine), backend.drained)
    elif verb in {"backend.pin", "backend.unpin"}:
        model = arguments["model"]
        name = registry.pins.get(model, "")
        is_listed = name in registry
        yield pinning(model, place_of(registry.get(name), machine) if is_listed else NOWHERE)


def reloaded(old: Config, new: Config, registry: Registry, machine: str) -> Iterator[Act]:
    """What somebody did by editing the file."""
    places = {backend.name: place_of(backend, machine) for backend in registry}
    before, after = old.routing.pins, new.routing.pins
    for model in {**before, **after}:
        if before.get(model) != after.get(model):
            yield pinning(model, places.get(after.get(model, ""), NOWHERE))
    was_drained = {entry.name: entry.drained for entry in old.backends}
    for entry in new.backends:
        if entry.name in places and was_drained.get(entry.name, False) != entry.drained:
            yield draining(places[entry.name], entry.drained)


def apply(acts: Mapping[str, str], registry: Registry, machine: str) -> None:
    """Make the registry say what the acts say, where it knows of what they are about."""
    by_place = {place_of(backend, machine): backend for backend in registry}
    for field, value in acts.items():
        kind, _, what = field.partition(" ")
        if kind == "drained" and what in by_place:
            registry.set_drained(by_place[what].name, value == "yes")
        elif kind == "pinned":
            target = by_place.get(value)
            if target is not None and registry.pins.get(what) != target.name:
                registry.pin(what, target.name)
            elif value == NOWHERE and what in registry.pins:
                registry.unpin(what)
