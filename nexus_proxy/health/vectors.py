"""Comparing the vectors of backends that serve one embedding model, off the way of requests.

Only once somebody asks for embeddings of a model that several list, since it may load the model.
Clouds are not asked: that would cost money. A backend is asked as by any client: with a slot, for
which the question waits in the queue, so that it pushes nothing out that runs there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from nexus_proxy.admission.queue import Admission, options
from nexus_proxy.backends.base import Target
from nexus_proxy.backends.embedding import fingerprint
from nexus_proxy.config.model import RoutingConfig
from nexus_proxy.errors import NexusError
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.routing.pipeline import Decision, plan
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import Candidate, RequestFacts
from nexus_proxy.state import BackendState, ModelInfo
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
"""After a failure."""
_RULES = Rules(RoutingConfig())
"""Nobody's policy is asked: what is sent says nothing of anybody."""


class VectorComparison:
    """Takes the fingerprints that are missing, each once until its backend restarts."""

    def __init__(
        self,
        registry: Registry,
        *,
        admission: Admission,
        make_client: Callable[[], httpx.AsyncClient],
        environ: Mapping[str, str],
    ) -> None:
        self._registry, self._admission = registry, admission
        self._make_client, self._environ = make_client, environ
        self._asked: dict[tuple[str, str], float] = {}

    def want(self, name: str) -> None:
        """Embeddings of a model are asked for: see that its backends get compared."""
        offers = self._registry.offers(name)
        if len(offers) < 2:
            return
        now = time.monotonic()
        for backend, model in offers:
            key = (backend.name, model.id)
            if model.id in backend.vectors or self._asked.get(key, now) > now:
                continue
            if _may_ask(backend, model):
                self._asked[key] = now + AGAIN_SECONDS
                spawn(self._take(backend, model), name=f"vectors of {backend.name}")

    async def _take(self, backend: Backend, model: ModelInfo) -> None:
        """Compare, once a slot is free."""

        def decide() -> Iterator[tuple[Decision, Candidate]]:
            facts = RequestFacts(model_asked=f"{backend.name}/{model.id}", now=time.monotonic())
            return options(plan(facts, self._registry, _RULES))

        name = f"vectors of {model.id} at {backend.name}"
        try:
            seat = await self._admission.wait(decide, id=name, model=model.id)
        except NexusError as error:
            self._complain(backend, model, error.message)
            return
        with seat.hold:
            await self._compare(backend, model)

    async def _compare(self, backend: Backend, model: ModelInfo) -> None:
        variable = backend.api_key_env
        key = self._environ.get(variable, "").strip() if variable else ""
        target = Target(base_url=backend.url, api_key=key or None)
        since = backend.state_since
        async with self._make_client() as client:
            taken = await fingerprint(client, target, backend.type, model.id)
        if isinstance(taken, str):
            self._complain(backend, model, taken)
        elif backend.state_since == since:  # it did not restart meanwhile
            self._registry.note_vectors(backend, model.id, taken)
        if not isinstance(taken, str):
            self._asked.pop((backend.name, model.id), None)

    @staticmethod
    def _complain(backend: Backend, model: ModelInfo, why: str) -> None:
        log.info(
            "the vectors of %s at %s are not known, so it embeds for no other: %s",
            *(model.id, backend.name, why),
        )


def _may_ask(backend: Backend, model: ModelInfo) -> bool:
    at_home = not backend.traits.is_cloud and not model.remote
    return at_home and backend.state is BackendState.UP
