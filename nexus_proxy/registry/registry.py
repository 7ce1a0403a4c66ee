"""The one mutable store of backends and their models. Everything else reads or asks.

Each change publishes one event. The registry knows no network: health, discovery and operators
tell it what they saw or want, and the relay tells it what real traffic met.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.errors import CommandError, NotFoundError
from nexus_proxy.events import AirplaneChanged, BackendAdded, BackendChanged, BackendRemoved, Bus
from nexus_proxy.registry.backend import Backend, Claim
from nexus_proxy.routing.types import Fingerprint, Home
from nexus_proxy.state import (
    BackendState,
    BackendView,
    Capability,
    ModelInfo,
    Probe,
    Traits,
    Truncation,
)
from nexus_proxy.wording import plural

UNABLE_SECONDS = 300.0
"""How long it is believed that a server lacks a route; less if it restarts or is upgraded."""
EMA_WEIGHT = 0.3
"""Weight of the newest sample in the moving averages."""


@dataclass(slots=True)
class _Embedder:
    """Whose vectors clients hold of a name; until it has served, they hold none."""

    home: Home
    has_served: bool = False


class Registry:
    """Backends by name, models by id."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._backends: dict[str, Backend] = {}
        self._by_model: dict[str, list[Backend]] = {}
        self._offers: dict[str, list[tuple[Backend, ModelInfo]]] = {}
        self.aliases: dict[str, str] = {}
        self.pins: dict[str, str] = {}
        self._embedders: dict[str, _Embedder] = {}
        self.airplane = False
        """Nothing is sent to clouds; changed by `set_airplane`."""

    # -- reading -------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Backend]:
        return iter(tuple(self._backends.values()))

    def __len__(self) -> int:
        return len(self._backends)

    def __contains__(self, name: object) -> bool:
        return name in self._backends

    def get(self, name: str) -> Backend:
        """The backend called `name`. Raises `NotFoundError` with the names that exist."""
        try:
            return self._backends[name]
        except KeyError:
            known = ", ".join(sorted(self._backends)) or "none yet"
            raise NotFoundError(f"no backend is called {name!r} (there are: {known})") from None

    def at(self, address: str) -> Backend | None:
        """The backend at a canonical `host:port`, under whatever name."""
        return next((b for b in self._backends.values() if b.address == address), None)

    def serving(self, model_id: str) -> list[Backend]:
        """All backends that list the model, whatever their state. Not to be changed."""
        return self._by_model.get(model_id, _NOBODY)

    def offers(self, model_id: str) -> Sequence[tuple[Backend, ModelInfo]]:
        """The same, each with what it says of the model. Not to be changed."""
        return self._offers.get(model_id, ())

    def model_ids(self) -> Iterable[str]:
        """Every model id that some backend lists."""
        return self._by_model.keys()

    def has_model(self, model_id: str) -> bool:
        """Whether some backend lists the model."""
        return model_id in self._by_model

    def embedder(self, path: Sequence[str], pinned: str | None) -> Home | None:
        """Whose vectors are the ones for a request on its way over these names: the one that the
        name is pinned to, or the first that served one of them."""
        if pinned is not None and pinned in self._backends:
            for name in reversed(path):
                for backend, model in self.offers(name):
                    if backend.name == pinned:
                        return Home(backend, model.id)
        first = next((self._embedders[name] for name in path if name in self._embedders), None)
        return None if first is None else first.home

    # -- coming and going ----------------------------------------------------------------------

    def add(self, backend: Backend) -> None:
        """List a backend. Raises `CommandError` where its name or address is taken."""
        if backend.name in self._backends:
            raise CommandError(f"a backend called {backend.name!r} exists already")
        if twin := self.at(backend.address):
            raise CommandError(f"{backend.url} is the backend {twin.name!r} already")
        self._backends[backend.name] = backend
        self._reindex()
        self._bus.publish(BackendAdded(name=backend.name))

    def remove(self, name: str) -> Backend:
        """Forget a backend. Requests that run on it finish. Raises `NotFoundError`."""
        backend = self.get(name)
        del self._backends[name]
        self._embedders = {k: e for k, e in self._embedders.items() if e.home.backend.name != name}
        self._reindex()
        self._bus.publish(BackendRemoved(name=name))
        return backend

    def free_name(self, wanted: str) -> str:
        """`wanted`, or `wanted-2`, `wanted-3` … if it is taken."""
        name, number = wanted, 2
        while name in self._backends:
            name, number = f"{wanted}-{number}", number + 1
        return name

    # -- operators -----------------------------------------------------------------------------

    def set_drained(self, name: str, drained: bool) -> None:
        """Stop, or start again, giving it new requests. Raises `NotFoundError`."""
        backend = self.get(name)
        if backend.drained != drained:
            backend.drained, backend.state_since = drained, time.time()
            self._changed(backend, "drains: no new requests" if drained else "takes requests again")

    def set_zone(self, name: str, zone: Zone) -> None:
        """Say how closed it is. Raises `NotFoundError`."""
        backend = self.get(name)
        backend.zone = zone
        self._changed(backend, f"is now in zone {zone.label}")

    def set_priority(self, name: str, priority: int) -> None:
        """Lower is preferred. Raises `NotFoundError`."""
        backend = self.get(name)
        backend.priority = max(0, priority)
        self._changed(backend, f"now has priority {backend.priority}")

    def set_tags(self, name: str, tags: Iterable[str]) -> None:
        """Replace its tags. Raises `NotFoundError`."""
        backend = self.get(name)
        backend.tags = tuple(tags)
        self._changed(backend, f"is now tagged {', '.join(backend.tags) or '(nothing)'}")

    def accept(self, name: str) -> None:
        """Let a found backend have traffic. Raises `NotFoundError`."""
        backend = self.get(name)
        backend.accepted = backend.enabled = True
        self._changed(backend, "is accepted")

    def disable(self, name: str) -> None:
        """Give it no traffic until it is accepted. Raises `NotFoundError`."""
        backend = self.get(name)
        backend.enabled = False
        self._changed(backend, "is disabled")

    def pin(self, model: str, backend: str) -> None:
        """Send a model to one backend first. Raises `NotFoundError`."""
        target = self.get(backend)
        self.pins[model] = target.name
        self._changed(target, f"is pinned for {model}")

    def unpin(self, model: str) -> None:
        """Undo `pin`. Raises `NotFoundError` where the model is not pinned."""
        if model not in self.pins:
            raise NotFoundError(f"{model!r} is not pinned")
        name = self.pins.pop(model)
        if name in self._backends:
            self._changed(self._backends[name], f"is no longer pinned for {model}")

    def set_airplane(self, on: bool) -> None:
        """Keep all traffic from clouds, or let it out again."""
        if self.airplane != on:
            self.airplane = on
            self._bus.publish(AirplaneChanged(on=on))

    def configure(
        self,
        name: str,
        *,
        zone: Zone,
        tier: int,
        priority: int,
        tags: Iterable[str],
        enabled: bool,
        drained: bool,
        max_concurrent: int | None,
        allow_models: Iterable[str],
        api_key_env: str | None,
    ) -> None:
        """Apply what a reloaded file says of it. Raises `NotFoundError`."""
        backend = self.get(name)
        backend.zone, backend.tier, backend.priority = zone, tier, priority
        backend.tags, backend.enabled, backend.drained = tuple(tags), enabled, drained
        backend.max_concurrent, backend.api_key_env = max_concurrent, api_key_env
        backend.allow_models = tuple(allow_models)
        self._reindex()
        self._changed(backend, "was reconfigured")

    # -- what was seen -------------------------------------------------------------------------

    def retype(self, name: str, type_: BackendType, traits: Traits) -> None:
        """Another kind of server answers at its address now. Raises `NotFoundError`."""
        backend = self.get(name)
        backend.type, backend.traits = type_, traits
        backend.answers_while_busy = traits.answers_while_busy
        backend.learnt_slots, backend.models = None, {}
        backend.max_loaded, backend.seen_together = None, ()
        backend.loads_when_told = False
        backend.vectors.clear()
        backend.forget_start()
        self._reindex()
        self._changed(backend, f"is now {type_.value}")

    def seen(self, name: str, probe: Probe, *, probe_ms: float) -> None:
        """A check succeeded. Models and slots are taken over; health is `mark`'s business."""
        backend = self.get(name)
        backend.last_seen, backend.probe_ms = time.time(), probe_ms
        if probe.version not in (None, backend.version):
            backend.version = probe.version
            backend.vectors.clear()
            backend.forget_start()
        backend.forwards, backend.loads_when_told = probe.forwards, probe.loads_when_told
        if backend.in_flight and backend.answers_while_busy is None:
            backend.answers_while_busy = True
        before = (backend.models, backend.learnt_slots, backend.max_loaded)
        if probe.models is not None:
            models = {model.id: model for model in probe.models}
            backend.models = backend.models if models == backend.models else models
        if probe.slots is not None:
            backend.learnt_slots = probe.slots
        if probe.max_loaded is not None:
            backend.max_loaded = probe.max_loaded
        if backend.traits.swaps:
            backend.note_company()
        if backend.sized and probe.models is not None:
            backend.note_sizes()
        if probe.busy is not None:
            backend.busy_elsewhere = max(0, probe.busy - backend.in_flight)
        if (backend.models, backend.learnt_slots, backend.max_loaded) != before:
            self._reindex()
            self._changed(backend, _news(before[0], backend.models))

    def mark(self, name: str, health: BackendState, reason: str | None = None) -> None:
        """Set its health (UNKNOWN, LOADING, UP or DOWN) and why. Raises `NotFoundError`."""
        backend = self.get(name)
        if backend.health is health and backend.reason == reason:
            return
        if backend.health is not health:
            backend.state_since = time.time()
        if backend.health is BackendState.DOWN and health is not BackendState.DOWN:
            backend.vectors.clear()  # only now: others may stand in for it while it is down
        backend.health, backend.reason = health, reason
        if health is BackendState.DOWN:  # it may come back with other memory, and empty
            backend.seen_together, backend.latest_model = (), None
            backend.forget_start()
        what = f"is {health.value}"
        self._changed(backend, f"{what}: {reason}" if reason else what)

    def note_unable(self, backend: Backend, model: str, route: Capability, sentence: str) -> None:
        """It said that it does not have a route for a model."""
        backend.unable[model, route] = (time.monotonic() + UNABLE_SECONDS, sentence)

    def embeds(self, backend: Backend, model: str, path: Iterable[str]) -> None:
        """It is asked to embed for a request that came over these names: they are its own from now
        on, unless it fails before it ever answered, or they are another one's already."""
        for name in path:
            if self.has_model(name) and name not in self._embedders:
                self._embedders[name] = _Embedder(Home(backend, model))

    def embedded(self, backend: Backend, path: Iterable[str], *, served: bool) -> None:
        """How that went."""
        for name in path:
            embedder = self._embedders.get(name)
            if embedder is None or embedder.home.backend is not backend:
                continue
            if served:
                embedder.has_served = True
            elif not embedder.has_served:
                del self._embedders[name]

    def note_vectors(self, backend: Backend, model: str, vectors: Fingerprint) -> None:
        """What it makes of the texts by which vectors are compared."""
        backend.vectors[model] = vectors
        self._changed(backend, f"made vectors with {model}, to be compared with others'")

    def note_truncation(self, backend: Backend, model: str, cut: Truncation) -> None:
        """It cut a prompt without a word."""
        is_news = backend.warning is None
        sentence = f"cut a prompt for {model} without a word: {cut}; give it a larger context"
        backend.truncation = (time.time(), sentence)
        if is_news:
            self._changed(backend, sentence)

    def note_error(self, backend: Backend, sentence: str) -> None:
        """Remember an error for the detail view and count it."""
        backend.failures += 1
        backend.errors.append(f"{time.strftime('%H:%M:%S')} {sentence}")

    def learn(
        self,
        backend: Backend,
        model: str,
        first_token_ms: float | None,
        tokens_per_second: float | None,
    ) -> None:
        """Feed the moving averages. None: was not seen."""
        if first_token_ms is not None:
            averages = backend.first_token_ms
            averages[model] = _average(averages.get(model), first_token_ms)
        if tokens_per_second is not None:
            backend.tokens_per_second = _average(backend.tokens_per_second, tokens_per_second)

    def claim(self, backend: Backend, model: str, claim: Claim | None) -> None:
        """A model is being loaded or unloaded from now on, or (None) no longer."""
        if claim is None:
            del backend.claims[model]
            self._changed(backend, f"is done with {model}")
        else:
            backend.claims[model] = claim
            self._changed(backend, f"{'loads' if claim.loads else 'unloads'} {model}")

    def park(self, backend: Backend, model: str, parked: bool) -> None:
        """Ask for a model here only where nobody else has it, or again like everywhere."""
        backend.parked = backend.parked | {model} if parked else backend.parked - {model}

    def forget_model(self, backend: Backend, model: str) -> None:
        """The backend says it no longer has a model that it listed."""
        if model in backend.models:
            backend.models = {k: v for k, v in backend.models.items() if k != model}
            self._reindex()
            self._changed(backend, f"no longer has {model}")

    # -- views ---------------------------------------------------------------------------------

    def views(self) -> tuple[BackendView, ...]:
        """All backends as frozen values, by priority, then name."""
        ordered = sorted(self._backends.values(), key=lambda b: (b.priority, b.name))
        return tuple(self.view(backend) for backend in ordered)

    def view(self, backend: Backend) -> BackendView:
        """One backend as a frozen value."""
        return backend.view(self.pins)

    # -- inside --------------------------------------------------------------------------------

    def _reindex(self) -> None:
        offers: dict[str, list[tuple[Backend, ModelInfo]]] = {}
        for backend in self._backends.values():
            for name, model in backend.names().items():
                offers.setdefault(name, []).append((backend, model))
        self._offers = offers
        self._by_model = {name: [backend for backend, _ in found] for name, found in offers.items()}

    def _changed(self, backend: Backend, what: str) -> None:
        self._bus.publish(BackendChanged(name=backend.name, what=what))


def _news(before: Mapping[str, ModelInfo], now: Mapping[str, ModelInfo]) -> str:
    """What a check found changed, for the log."""
    if before.keys() == now.keys():
        came = [name for name in now if now[name].loaded and not before[name].loaded]
        went = [name for name in now if before[name].loaded and not now[name].loaded]
        if came or went:
            has = f"has {', '.join(came)} in memory" if came else ""
            lost = f"has {', '.join(went)} in memory no more" if went else ""
            return " and ".join(filter(None, (has, lost)))
    return f"lists {plural(len(now), 'model')}"


def _average(old: float | None, newest: float) -> float:
    return newest if old is None else old + EMA_WEIGHT * (newest - old)


_NOBODY: list[Backend] = []
