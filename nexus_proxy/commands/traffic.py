"""What an act does to traffic, in words: the same in the question before and in the result."""

from __future__ import annotations

from nexus_proxy.commands.base import Operations


def others_serving(operations: Operations, name: str) -> str:
    """What becomes of the requests on a backend, and of its models, once it takes no new ones."""
    backend = operations.registry.get(name)
    lonely = [
        model
        for model in backend.models
        if not any(b.name != name for b in operations.registry.serving(model))
    ]
    return f"{requests(backend.in_flight)} in flight will finish{nobody_else(lonely)}"


def nobody_else(models: list[str]) -> str:
    """The end of a sentence that tells which models are lost; empty where none is."""
    lost = f"; nobody else serves {', '.join(models[:3])}" if models else ""
    return f"{lost} and {len(models) - 3} more" if len(models) > 3 else lost


def requests(count: int) -> str:
    """`1 request`, `2 requests`."""
    return f"{count} request" if count == 1 else f"{count} requests"
