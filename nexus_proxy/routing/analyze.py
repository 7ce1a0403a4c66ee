"""Stage analyze: who can do what the request needs.

What a backend does not tell about a model is unknown, and unknown is allowed (schedule scores it
lower): a normal local set-up never becomes unroutable for want of metadata. A prompt counts as
too long only when it would be so at the most generous reading, since no tokenizer was asked.

A route that only some servers have (rerank, audio, images, moderations) is asked of all but those
of a kind that lacks it, and those that have lately answered that they do not. Embeddings come from
one model (`vectors`).
"""

from __future__ import annotations

from nexus_proxy.routing import vectors
from nexus_proxy.routing.types import Candidate, Reject, RequestFacts, Selection
from nexus_proxy.state import Capability

GENEROUS_BYTES_PER_TOKEN = 7
"""No tokenizer in use packs ordinary text tighter than this on average."""


def keep(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those that say they cannot do it."""
    facts = selection.facts
    needs, least_tokens = facts.needs, facts.prompt_bytes // GENEROUS_BYTES_PER_TOKEN
    if facts.reads_apart:
        least_tokens = 0
    if facts.route is not None:
        candidates = _having(facts.route, facts, candidates, reject)
    if selection.home is not None:
        candidates = vectors.keep(selection.home, selection.model, candidates, reject)
    kept = []
    for candidate in candidates:
        model = candidate.model
        if model.cannot and not model.cannot.isdisjoint(needs):
            lacking = ", ".join(sorted(n.value for n in model.cannot & needs))
            reject(
                candidate, f"{model.id} cannot do {lacking} there", f"choose a model with {lacking}"
            )
        elif (
            model.context_length is not None
            and least_tokens > model.context_length
            and not _can_be_sized(candidate, facts, least_tokens)
        ):
            context = model.context_length
            reject(
                candidate,
                f"about {facts.prompt_tokens} tokens do not fit its context of {context}",
                "shorten the prompt or start the backend with a larger context",
            )
        else:
            kept.append(candidate)
    return kept


def _can_be_sized(candidate: Candidate, facts: RequestFacts, least_tokens: int) -> bool:
    """Whether its model can be loaded with a context that is long enough."""
    sizes = candidate.backend.traits.sizes_context and Capability.CHAT in facts.needs
    return sizes and least_tokens <= (candidate.model.max_context or 0)


def _having(
    route: Capability, facts: RequestFacts, candidates: list[Candidate], reject: Reject
) -> list[Candidate]:
    """Remove the servers that do not have a route."""
    kept = []
    for candidate in candidates:
        backend, model = candidate.backend, candidate.model.id
        until, said = backend.unable.get((model, route), (0.0, ""))
        if route in backend.traits.lacks:
            reject(
                candidate,
                f"servers of its kind have no route for {route.value}",
                f"name a model of a backend that does {route.value}",
            )
        elif until > facts.now:
            reject(
                candidate,
                f"{model} cannot do {route.value} there: {said}",
                "start the backend with it, or name another model; it is asked again in "
                f"{until - facts.now:.0f} s",
            )
        else:
            kept.append(candidate)
    return kept
