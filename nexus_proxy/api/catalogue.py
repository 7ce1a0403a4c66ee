"""The models that clients are offered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nexus_proxy.registry import Backend, Registry
from nexus_proxy.routing.types import Home
from nexus_proxy.state import ModelInfo


class Offered:
    """The registry as clients may see it: models of backends that are enabled and accepted.

    Those of a backend that is down or draining stay in it: a list that changes with every hiccup
    makes clients forget their settings, and asking for such a model gets an error that says why.

    `to_gateway`: another Nexus asks. It is not told of models that we have from a Nexus ourselves,
    or two of them would keep a model alive that both only heard of from the other.
    """

    def __init__(self, registry: Registry, *, to_gateway: bool = False) -> None:
        self._registry = registry
        self._to_gateway = to_gateway
        self.aliases, self.pins = registry.aliases, registry.pins
        self.airplane = registry.airplane

    def __contains__(self, name: object) -> bool:
        return name in self._registry

    def __iter__(self) -> Iterator[Backend]:
        """The backends whose models are offered."""
        return (backend for backend in self._registry if self._is_offered(backend))

    def served_ids(self) -> set[str]:
        """Model ids, without the other names that backends have for them."""
        return {model for backend in self for model in backend.models if backend.serves(model)}

    def has_model(self, model_id: str) -> bool:
        """Whether a backend that is offered lists the model."""
        return bool(self.serving(model_id))

    def model_ids(self) -> Iterable[str]:
        """Ids, and other names that backends have for their models."""
        return [name for name in self._registry.model_ids() if self.has_model(name)]

    def serving(self, model_id: str) -> Sequence[Backend]:
        """The backends that are offered and list the model, by priority, then name."""
        return [backend for backend, _ in self.offers(model_id)]

    def offers(self, model_id: str) -> Sequence[tuple[Backend, ModelInfo]]:
        """The same, each with what it says of the model."""
        offers = (o for o in self._registry.offers(model_id) if self._is_offered(o[0]))
        return sorted(offers, key=lambda o: (o[0].priority, o[0].name))

    def embedder(self, path: Sequence[str], pinned: str | None) -> Home | None:
        """Whose vectors are the ones for a request on its way over these names."""
        return self._registry.embedder(path, pinned)

    def _is_offered(self, backend: Backend) -> bool:
        echoes = self._to_gateway and backend.forwards
        return backend.enabled and backend.accepted and not echoes
