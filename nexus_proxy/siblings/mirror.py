"""What the lead's list of backends says, for the workers that mirror it.

Names, switches and pins come from the lead; what a worker saw itself (kind, health, models, slots)
stays its own. `max_concurrent` is not told, since each worker has its own part of it.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.address import canonical
from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.registry import Backend, Claim, Registry
from nexus_proxy.state import BackendState, Probe, Source

_SWITCHES = (
    "zone",
    "tier",
    "priority",
    "tags",
    "api_key_env",
    "enabled",
    "drained",
    "allow_models",
)


class Listing(Struct, frozen=True, kw_only=True):
    """One backend, as an operator or the discovery would have it."""

    name: str
    url: str
    type: BackendType
    source: Source
    origin: str
    zone: Zone
    tier: int
    priority: int
    tags: tuple[str, ...]
    api_key_env: str | None
    enabled: bool
    accepted: bool
    drained: bool
    allow_models: tuple[str, ...]
    claims: dict[str, Claim] = {}
    parked: frozenset[str] = frozenset()


class Listings(Struct, frozen=True, kw_only=True):
    """The whole list."""

    backends: tuple[Listing, ...]
    pins: dict[str, str]
    airplane: bool


class Seen(Struct, frozen=True, kw_only=True):
    """What checks found out about one backend."""

    health: BackendState
    reason: str | None
    probe: Probe
    probe_ms: float


class Lesson(Struct, frozen=True, kw_only=True):
    """What a worker that replaces another is taught before it serves, so that no client is refused
    because it has not looked around yet."""

    backends: tuple[Listing, ...]
    seen: dict[str, Seen]


def lesson(registry: Registry) -> Lesson:
    """All that this worker knows."""
    seen = {
        backend.name: Seen(
            health=backend.health,
            reason=backend.reason,
            probe=Probe(
                models=tuple(backend.models.values()),
                version=backend.version,
                slots=backend.learnt_slots,
                forwards=backend.forwards,
            ),
            probe_ms=backend.probe_ms or 0.0,
        )
        for backend in registry
    }
    return Lesson(backends=listings(registry).backends, seen=seen)


def list_found(registry: Registry, taught: Lesson) -> None:
    """List what was found or added by hand. What stands in the configuration is read there, which
    may have changed meanwhile."""
    for listing in taught.backends:
        if listing.source is not Source.CONFIG:
            registry.add(_backend(listing))


def recall(registry: Registry, taught: Lesson) -> None:
    """Take over what checks found out, for what is listed and has not been checked."""
    for name, seen in taught.seen.items():
        if name in registry and registry.get(name).health is BackendState.UNKNOWN:
            registry.seen(name, seen.probe, probe_ms=seen.probe_ms)
            registry.mark(name, seen.health, seen.reason)


def listings(registry: Registry) -> Listings:
    """What the others shall mirror."""
    return Listings(
        backends=tuple(map(_listing, registry)),
        pins=dict(registry.pins),
        airplane=registry.airplane,
    )


def mirror(registry: Registry, wanted: Listings, drop: Callable[[str], None]) -> None:
    """Make the list say the same. What agrees already is not touched, so that nothing is published
    twice; `drop` takes a backend off it."""
    registry.set_airplane(wanted.airplane)
    by_name = {listing.name: listing for listing in wanted.backends}
    for backend in registry:
        listing = by_name.get(backend.name)
        if listing is None or canonical(listing.url) != backend.address:
            drop(backend.name)
    for listing in wanted.backends:
        if listing.name not in registry:
            registry.add(_backend(listing))
        else:
            _change(registry, registry.get(listing.name), listing)
    registry.pins = dict(wanted.pins)


def _listing(backend: Backend) -> Listing:
    return Listing(
        name=backend.name,
        url=backend.url,
        type=backend.type,
        source=backend.source,
        origin=backend.origin,
        zone=backend.zone,
        tier=backend.tier,
        priority=backend.priority,
        tags=backend.tags,
        api_key_env=backend.api_key_env,
        enabled=backend.enabled,
        accepted=backend.accepted,
        drained=backend.drained,
        allow_models=backend.allow_models,
        claims=dict(backend.claims),
        parked=backend.parked,
    )


def _backend(listing: Listing) -> Backend:
    traits = adapter_for(listing.type).traits
    return Backend(
        name=listing.name,
        url=listing.url,
        address=canonical(listing.url),
        type=listing.type,
        traits=traits,
        source=listing.source,
        origin=listing.origin,
        zone=listing.zone,
        tier=listing.tier,
        priority=listing.priority,
        tags=listing.tags,
        api_key_env=listing.api_key_env,
        enabled=listing.enabled,
        accepted=listing.accepted,
        drained=listing.drained,
        allow_models=listing.allow_models,
        answers_while_busy=traits.answers_while_busy,
    )


def _change(registry: Registry, backend: Backend, listing: Listing) -> None:
    if listing.accepted and not backend.accepted:
        registry.accept(listing.name)
    wanted = {switch: getattr(listing, switch) for switch in _SWITCHES}
    if any(getattr(backend, switch) != value for switch, value in wanted.items()):
        registry.configure(listing.name, **wanted, max_concurrent=backend.max_concurrent)
    backend.parked = listing.parked
    for model in [m for m in backend.claims if m not in listing.claims]:
        registry.claim(backend, model, None)
    for model, claim in listing.claims.items():
        if backend.claims.get(model) != claim:
            registry.claim(backend, model, claim)
