"""Models that are being loaded or unloaded: whom a request must not disturb, and so waits for.

Pure functions over what the registry knows.
"""

from __future__ import annotations

from nexus_proxy.admission.swaps import has_room
from nexus_proxy.registry import Backend, Claim


def claimed(backend: Backend, model: str) -> tuple[Claim, str] | None:
    """What keeps requests for `model` from a backend that has claims, and why in words; None:
    nothing does.

    A model that must go is asked for no more, so that it drains; one that comes is waited for.
    Where the backend throws out a model that runs for one that comes (`max_loaded` is told), the
    others wait too.
    """
    if (claim := backend.claims.get(model)) is not None:
        return claim, f"{model} is being {'loaded' if claim.loads else 'unloaded'}"
    if backend.max_loaded is None:
        return None
    for coming, claim in backend.claims.items():
        if claim.loads and not has_room(backend, model, {coming: 1}):
            return claim, f"swap: {coming} is being loaded"
    return None
