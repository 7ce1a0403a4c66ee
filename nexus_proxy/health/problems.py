"""What is wrong with the backends now, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_proxy.state import BackendState, BackendView


def about_backends(backends: Sequence[BackendView]) -> list[str]:
    """Worst first."""
    problems = []
    live = [b for b in backends if b.state in (BackendState.UP, BackendState.LOADING)]
    if backends and not live:
        problems.append("no backend is up: every request is refused")
    problems += [
        f"{b.name} is down: {b.reason or 'no answer'}"
        for b in backends
        if b.state is BackendState.DOWN
    ]
    problems += [f"{b.name} {b.warning}" for b in backends if b.warning]
    waiting = [b.name for b in backends if not b.accepted]
    if waiting:
        problems.append(f"found, not accepted yet: {', '.join(waiting)}")
    return problems
