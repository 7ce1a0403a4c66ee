"""What an act does to traffic, in words: the same in the question before and in the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from nexus_proxy.commands.base import Operations
from nexus_proxy.config.model import Strategy, Zone
from nexus_proxy.registry import Backend
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.state import BackendState
from nexus_proxy.wording import plural

FEW = 3
"""Names that a sentence holds; of more it gives the number."""

_BY_PRIORITY = {Strategy.SMART, Strategy.PRIORITY_ONLY}


def finishing(count: int) -> str:
    """`1 request finishes`, `2 requests finish`, `nothing runs there`."""
    if count == 0:
        return "nothing runs there"
    return f"{plural(count, 'request')} {'finishes' if count == 1 else 'finish'}"


def few(names: Iterable[str]) -> str:
    """`a, b, c and 4 more`."""
    all_ = list(names)
    more = f" and {len(all_) - FEW} more" if len(all_) > FEW else ""
    return ", ".join(all_[:FEW]) + more


def takes(operations: Operations, backend: Backend) -> bool:
    """Whether new requests can reach it now."""
    grounded = operations.registry.airplane and is_away(backend.traits.is_cloud, backend.zone)
    stopped = (BackendState.DISABLED, BackendState.DOWN, BackendState.DRAINING)
    return backend.state not in stopped and not grounded


def emptied(operations: Operations, name: str) -> str:
    """What becomes of the requests on a backend, and of its models, once it takes no new ones."""
    backend = operations.registry.get(name)
    running = f"{plural(backend.in_flight, 'request')} in flight will finish"
    now = running if backend.in_flight else "Nothing runs there now"
    return now + moves(operations, backend.models, {name})


def is_missed(operations: Operations, backend: Backend) -> bool:
    """Whether somebody is affected once it takes no new requests: something runs there, or it is
    the last to serve one of its models."""
    if backend.in_flight:
        return True
    return takes(operations, backend) and () in _inherited(
        operations, backend.models, {backend.name}
    )


def moves(operations: Operations, models: Iterable[str], leaving: Set[str]) -> str:
    """The end of a sentence that tells where the requests for `models` go without the backends
    called `leaving`; empty where there are no models."""
    heirs, fallbacks = _inherited(operations, models, leaving), operations.config.routing.fallbacks
    lost = [_with_fallback(model, fallbacks) for model in heirs.pop((), ())]
    return (f"; nobody else serves {few(lost)}" if lost else "") + _heirs(heirs)


def _inherited(
    operations: Operations, models: Iterable[str], leaving: Set[str]
) -> dict[tuple[str, ...], list[str]]:
    """Models by the backends, but for those called `leaving`, that serve them now."""
    heirs: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        left = [b for b in operations.registry.serving(model) if b.name not in leaving]
        heirs.setdefault(tuple(b.name for b in left if takes(operations, b)), []).append(model)
    return heirs


def _heirs(heirs: Mapping[tuple[str, ...], Sequence[str]]) -> str:
    """Backends are named while they are few; which of many gets what is for the dry run to say."""
    if len(heirs) > FEW:
        return f"; {plural(sum(map(len, heirs.values())), 'model')} go to others that serve them"
    told = (
        f"; {few(models)} {'goes' if len(models) == 1 else 'go'} to {few(names)}"
        for names, models in heirs.items()
    )
    return "".join(told)


def _with_fallback(model: str, fallbacks: Mapping[str, Sequence[str]]) -> str:
    return f"{model} (falls back to {fallbacks[model][0]})" if fallbacks.get(model) else model


def narrowed(operations: Operations, backend: Backend, before: Zone) -> str:
    """The end of a sentence that tells what a zone less closed than `before` keeps away."""
    closed = [
        b
        for b in operations.registry
        if b is not backend and b.zone >= before and takes(operations, b)
    ]
    lost = [m for m in backend.models if not any(m in b.models for b in closed)]
    alone = f", and nobody else of that zone serves {few(lost)}" if lost else ""
    return f"; requests that need zone {before.label} no longer go to it{alone}"


def preferred(operations: Operations, backend: Backend) -> str:
    """The end of a sentence that tells whom a backend stands before and after now."""
    strategy = operations.config.routing.strategy
    if strategy not in _BY_PRIORITY:
        return f"; routing.strategy {strategy.value} does not look at it"
    rivals = [
        b for b in operations.registry if b is not backend and b.models.keys() & backend.models
    ]
    before = [b.name for b in rivals if b.priority > backend.priority]
    after = [b.name for b in rivals if b.priority < backend.priority]
    words = [f"before {few(before)}"] if before else []
    words += [f"after {few(after)}"] if after else []
    return f"; {', '.join(words)} for the models they share" if words else ""


def pinned(operations: Operations, model: str, backend: Backend) -> str:
    """The end of a sentence that tells what a pin changes now."""
    if model not in backend.models:
        return f"; {backend.name} does not list it, so that nothing changes until it does"
    if not takes(operations, backend):
        waiting = f"; {backend.name} is {backend.state.value}, and until it takes requests"
        where = moves(operations, [model], {backend.name})
        return waiting + where.removeprefix(";")
    others = [b.name for b in operations.registry.serving(model) if b is not backend]
    return f"; {few(others)} only where it cannot" if others else ""
