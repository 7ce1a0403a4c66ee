"""Stage analyze: who can do what the request needs.

What a backend does not tell about a model is unknown, and unknown is allowed (schedule scores it
lower): a normal local set-up never becomes unroutable for want of metadata. A prompt counts as
too long only when it would be so at the most generous reading, since no tokenizer was asked.
"""

from __future__ import annotations

from nexus_proxy.routing.types import Candidate, Reject, Selection

GENEROUS_BYTES_PER_TOKEN = 7
"""No tokenizer in use packs ordinary text tighter than this on average."""


def keep(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those that say they cannot do it."""
    facts = selection.facts
    needs, least_tokens = facts.needs, facts.prompt_bytes // GENEROUS_BYTES_PER_TOKEN
    kept = []
    for candidate in candidates:
        model = candidate.model
        if model.cannot and not model.cannot.isdisjoint(needs):
            lacking = ", ".join(sorted(n.value for n in model.cannot & needs))
            reject(
                candidate, f"{model.id} cannot do {lacking} there", f"choose a model with {lacking}"
            )
        elif model.context_length is not None and least_tokens > model.context_length:
            context = model.context_length
            reject(
                candidate,
                f"about {facts.prompt_tokens} tokens do not fit its context of {context}",
                "shorten the prompt or start the backend with a larger context",
            )
        else:
            kept.append(candidate)
    return kept
