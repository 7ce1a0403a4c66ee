"""Each backend that the running gateway lists: state, version, context, clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from nexus_proxy.cli.checks.finding import Case, Finding, fail, ok, warn
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import BackendState, BackendView, ModelInfo
from nexus_proxy.wording import plural

CHECK = "backends"
SMALL_CONTEXT = 8192
"""Tokens. Coding agents start with prompts longer than that."""
CLOCK_SECONDS = 60.0
SHOWN_MODELS = 3
_LARGER = {
    BackendType.OLLAMA: "start Ollama with OLLAMA_CONTEXT_LENGTH=32768 in its environment",
    BackendType.LLAMACPP: "start llama-server with a larger -c; its -np slots share it",
    BackendType.LMSTUDIO: "load the model with a larger context length",
    BackendType.VLLM: "start vLLM with a larger --max-model-len",
}


def states(case: Case) -> Iterator[Finding]:
    """How each backend is, and models that have far less context than they could."""
    if case.snapshot is None:
        return
    if not case.snapshot.backends:
        looked = "; ".join(case.snapshot.searching) or "nowhere, since discovery is off"
        yield warn(
            CHECK, f"the gateway lists none. It looks at: {looked}", "nexus backends add URL"
        )
    for backend in case.snapshot.backends:
        yield _state(backend)
        if backend.state is BackendState.UP:
            yield from _contexts(backend)


async def clocks(case: Case) -> AsyncIterator[Finding]:
    """Compare this machine's clock with those of backends that run on somebody's own machines.

    Clouds are not asked: not even a check is sent before they are accepted.
    """
    live = [
        backend
        for backend in (case.snapshot.backends if case.snapshot else ())
        if backend.state is BackendState.UP and not backend.is_cloud
    ]
    lags = await asyncio.gather(*(_lag(case, backend) for backend in live))
    told = [(b, lag) for b, lag in zip(live, lags, strict=True) if lag is not None]
    for backend, lag in told:
        if abs(lag) > CLOCK_SECONDS:
            yield warn(
                "clock",
                f"the clock of {backend.name} is {abs(lag):.0f} s "
                f"{'ahead' if lag > 0 else 'behind'}",
                "set the clock of that machine, or of this one",
            )
    if told and all(abs(lag) <= CLOCK_SECONDS for _, lag in told):
        yield ok("clock", f"this machine and {plural(len(told), 'backend')} agree on the time")


def _state(backend: BackendView) -> Finding:
    what = f"{backend.name} ({backend.type.value} at {backend.url})"
    if not backend.accepted:
        return warn(
            CHECK, f"{what} gets no request: not accepted", f"nexus backends accept {backend.name}"
        )
    match backend.state:
        case BackendState.DISABLED:
            return ok(CHECK, f"{what} is disabled by the configuration")
        case BackendState.DOWN:
            return fail(
                CHECK, f"{what} is down: {backend.reason or 'no answer'}", "start it, or remove it"
            )
        case BackendState.DRAINING:
            return warn(
                CHECK, f"{what} takes no requests: drained", f"nexus backends resume {backend.name}"
            )
        case BackendState.LOADING | BackendState.UNKNOWN:
            return warn(CHECK, f"{what} is not ready: {backend.state.value}", "wait a moment")
    if not backend.models:
        return warn(CHECK, f"{what} is up, but lists no model", "load or download one there")
    version = f", version {backend.version}" if backend.version else ""
    return ok(CHECK, f"{what} is up{version}, {plural(len(backend.models), 'model')}")


def _contexts(backend: BackendView) -> Iterator[Finding]:
    small = [model for model in backend.models if _is_cut_short(model)]
    if not small:
        return
    named = ", ".join(
        f"{m.id} has {m.context_length} of {m.max_context} tokens" for m in small[:SHOWN_MODELS]
    )
    more = f" and {len(small) - SHOWN_MODELS} more" if len(small) > SHOWN_MODELS else ""
    yield warn(
        "context",
        f"{backend.name}: {named}{more}; longer prompts are refused or cut",
        _LARGER.get(backend.type, "start it with a larger context"),
    )


def _is_cut_short(model: ModelInfo) -> bool:
    usable, possible = model.context_length, model.max_context
    return usable is not None and possible is not None and usable <= SMALL_CONTEXT < possible


async def _lag(case: Case, backend: BackendView) -> float | None:
    """Seconds that its clock is ahead of ours; None: it does not tell."""
    from email.utils import parsedate_to_datetime

    import httpx

    try:
        answer = await case.client.get(f"{backend.url}/v1/models")
        return parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
    except (httpx.HTTPError, KeyError, ValueError, TypeError):
        return None
