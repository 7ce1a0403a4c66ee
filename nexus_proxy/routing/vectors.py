"""Embeddings come from one model only: vectors of two models, or of two builds of one, cannot be
compared with each other, and an index that holds both finds nothing.

The backend that served a name first is its home, or the one that the name is pinned to. Another
one is asked only if it made the same vectors of the same few texts; `nexus_proxy.health.vectors`
has them made. Of a cloud the same id is the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from operator import mul

from nexus_proxy.routing.types import Candidate, Fingerprint, Home, Reject

LEAST_COSINE = 0.999
"""Of the same weights on other hardware it is above 0.9999, of a 4-bit build of them 0.98 to
0.998."""


def keep(home: Home, name: str, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those whose vectors are not those of the name's home, or are not known to be."""
    kept = []
    for candidate in candidates:
        reason = _difference(home, candidate)
        if reason is None:
            kept.append(candidate)
        else:
            backend = candidate.backend.name
            fix = f"`nexus backends pin {name} {backend}` makes its vectors the ones, for good"
            reject(candidate, reason, fix)
    return kept


def _difference(home: Home, candidate: Candidate) -> str | None:
    backend, model = candidate.backend, candidate.model.id
    if backend is home.backend and model == home.model:
        return None
    at = home.backend.name
    if backend.traits.is_cloud and backend.traits is home.backend.traits:
        return None if model == home.model else f"its vectors are not those of {home.model} at {at}"
    ours, theirs = home.backend.vectors.get(home.model), backend.vectors.get(model)
    if ours is None or theirs is None:
        return f"its vectors were not compared yet with those of {at}"
    likeness = cosine(ours, theirs)
    if likeness >= LEAST_COSINE:
        return None
    return f"its vectors are not those of {at} (cosine {likeness:.3f}): another model or build"


@lru_cache(maxsize=256)
def cosine(one: Fingerprint, other: Fingerprint) -> float:
    """How alike two fingerprints are, by the pair that is least so: 1.0 is the same, and of
    different lengths they are not alike at all."""
    return min(map(_cosine, one.vectors, other.vectors), default=0.0)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    if len(one) != len(other):
        return 0.0
    lengths = sqrt(sum(map(mul, one, one)) * sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / lengths if lengths > 0 else 0.0
