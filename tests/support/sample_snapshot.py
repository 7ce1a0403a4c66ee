"""A gateway with one of everything, at a fixed moment."""

from __future__ import annotations

from typing import Any

import msgspec

from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.state import (
    AttemptView,
    BackendState,
    BackendView,
    CandidateView,
    Capability,
    DecisionView,
    LogLine,
    ModelInfo,
    RejectionView,
    RequestPhase,
    RequestView,
    Snapshot,
    Source,
    Totals,
    Trend,
)
from tests.support.sample_policies import (
    BUDGET,
    NOW,
    backend_trend,
    keys,
    qualities,
    queue,
    spend,
)
from tests.support.sample_traffic import trend

"""2025-06-15 15:06:40 UTC"""

CHAT = frozenset({Capability.CHAT, Capability.COMPLETIONS, Capability.TOOLS})

QWEN = ModelInfo(
    id="qwen3:8b",
    context_length=8192,
    max_context=40_960,
    can=CHAT | {Capability.THINKING},
    loaded=True,
    quantization="Q4_K_M",
    parameters="8.2B",
    size_bytes=5_225_388_164,
)
LLAVA = ModelInfo(
    id="llava:13b",
    context_length=4096,
    can=frozenset({Capability.CHAT, Capability.VISION}),
    cannot=frozenset({Capability.TOOLS}),
    loaded=False,
    quantization="Q4_0",
    size_bytes=8_000_000_000,
)
EMBED = ModelInfo(
    id="nomic-embed-text",
    context_length=2048,
    can=frozenset({Capability.EMBEDDINGS}),
    cannot=frozenset({Capability.CHAT}),
    aliases=("nomic-embed-text:latest",),
)
LLAMA = ModelInfo(
    id="meta-llama/Llama-3.3-70B-Instruct",
    context_length=131_072,
    max_context=131_072,
    can=CHAT | {Capability.JSON_SCHEMA},
    loaded=True,
    quantization="FP8",
)


def backend(name: str = "ollama", **changes: Any) -> BackendView:
    """A backend that is up, changed as asked."""
    view = BackendView(
        name=name,
        url="http://127.0.0.1:11434",
        type=BackendType.OLLAMA,
        source=Source.LOCAL_PORT,
        origin="127.0.0.1:11434",
        state=BackendState.UP,
        reason=None,
        zone=Zone.RESTRICTED,
        tier=1,
        priority=50,
        tags=(),
        enabled=True,
        accepted=True,
        drained=False,
        pinned_models=(),
        is_cloud=False,
        version="0.9.1",
        models=(QWEN, LLAVA, EMBED),
        slots=4,
        slots_source="learnt",
        in_flight=1,
        requests=812,
        failures=3,
        probe_ms=4.2,
        first_token_ms=184.0,
        tokens_per_second=38.4,
        last_seen=NOW - 3,
        state_since=NOW - 4_000,
        recent_errors=(),
    )
    return msgspec.structs.replace(view, **changes)


def backends() -> tuple[BackendView, ...]:
    """One in each state."""
    return (
        backend(pinned_models=("qwen3:8b",), tags=("laptop",), loads_when_told=True),
        backend(
            "vllm-b",
            url="http://192.168.1.20:8000/v1",
            type=BackendType.VLLM,
            source=Source.CONFIG,
            origin="nexus.toml:14",
            zone=Zone.INTERNAL,
            priority=30,
            tags=("gpu", "fast"),
            models=(LLAMA,),
            slots=64,
            in_flight=2,
            requests=391,
            failures=0,
            first_token_ms=72.0,
            tokens_per_second=91.0,
        ),
        backend(
            "llamacpp-attic",
            url="http://192.168.1.31:8080",
            type=BackendType.LLAMACPP,
            source=Source.CONFIG,
            origin="nexus.toml:20",
            state=BackendState.DOWN,
            reason="connection refused",
            models=(QWEN,),
            slots=1,
            in_flight=0,
            requests=27,
            failures=4,
            first_token_ms=None,
            tokens_per_second=None,
            last_seen=NOW - 340,
            state_since=NOW - 330,
            recent_errors=("15:01:10 connection refused", "15:01:22 connection refused"),
        ),
        backend(
            "lmstudio",
            url="http://127.0.0.1:1234",
            type=BackendType.LMSTUDIO,
            state=BackendState.DRAINING,
            drained=True,
            models=(QWEN,),
            slots=None,
            slots_source=None,
            version=None,
        ),
        backend(
            "exo",
            url="http://127.0.0.1:52415",
            type=BackendType.EXO,
            state=BackendState.LOADING,
            reason="loading llama-3.2-3b",
            models=(),
            slots=None,
            slots_source=None,
            in_flight=0,
            first_token_ms=None,
            tokens_per_second=None,
        ),
        backend(
            "openai",
            url="https://api.openai.com/v1",
            type=BackendType.OPENAI,
            source=Source.ENVIRONMENT,
            origin="OPENAI_API_KEY",
            state=BackendState.DISABLED,
            accepted=False,
            zone=Zone.OPEN,
            is_cloud=True,
            models=(ModelInfo(id="gpt-5-mini", context_length=400_000, can=CHAT),),
            slots=None,
            slots_source=None,
            in_flight=0,
            requests=0,
            failures=0,
            probe_ms=None,
            first_token_ms=None,
            tokens_per_second=None,
            last_seen=None,
        ),
        backend(
            "new-box",
            url="http://192.168.1.77:11434",
            source=Source.MDNS,
            origin="_ollama._tcp",
            state=BackendState.UNKNOWN,
            zone=Zone.INTERNAL,
            models=(),
            slots=None,
            slots_source=None,
            in_flight=0,
            requests=0,
            failures=0,
            first_token_ms=None,
            tokens_per_second=None,
            last_seen=None,
        ),
    )


DECISION = DecisionView(
    model_asked="claude-3-5-haiku-20241022",
    model="qwen3:8b",
    path=("claude-3-5-haiku-20241022", "qwen3:8b"),
    required_zone=Zone.INTERNAL,
    required_tier=None,
    needs=("chat", "tools"),
    prompt_tokens=1_204,
    strategy="smart",
    route_reason="failover",
    stages=(
        ("analyze", "4 of 5 backends with qwen3:8b can do chat, tools"),
        ("lifecycle", "3 of 4 are up and take requests"),
        ("privacy", "2 of 3 are in zone internal or closer"),
        ("schedule", "ollama first of 2 by smart"),
    ),
    candidates=(
        CandidateView(
            backend="ollama",
            model="qwen3:8b",
            score=0.82,
            parts={"priority": 0.5, "load": 0.22, "latency": 0.1},
        ),
        CandidateView(backend="lmstudio", model="qwen3:8b", score=0.61, parts={"priority": 0.5}),
    ),
    rejections=(
        RejectionView(
            backend="llamacpp-attic",
            model="qwen3:8b",
            stage="lifecycle",
            reason="it is down: connection refused",
            fix="start it, or remove it with `nexus backends remove llamacpp-attic`",
        ),
        RejectionView(
            backend="openai",
            model="gpt-5-mini",
            stage="privacy",
            reason="zone open is less closed than internal",
        ),
    ),
)


def request(id: str = "req_01", **changes: Any) -> RequestView:
    """A request that was answered, changed as asked."""
    view = RequestView(
        id=id,
        started=NOW - 42,
        endpoint="/v1/chat/completions",
        client="127.0.0.1",
        model_asked="qwen3:8b",
        model="qwen3:8b",
        backend="ollama",
        stream=True,
        phase=RequestPhase.DONE,
        status=200,
        error=None,
        prompt_tokens=1_204,
        completion_tokens=311,
        usage_source="measured",
        first_token_ms=412.0,
        total_ms=8_120.0,
        route_ms=0.2,
        queued_ms=None,
        finish_reason="stop",
        cost_usd=None,
        cost_source="n/a",
        key=None,
        decision=DECISION,
        attempts=(
            AttemptView(
                backend="ollama",
                model="qwen3:8b",
                started=NOW - 42,
                connect_ms=1.2,
                first_token_ms=411.0,
                total_ms=8_119.0,
                error=None,
            ),
        ),
    )
    return msgspec.structs.replace(view, **changes)


def requests() -> tuple[RequestView, ...]:
    """One in each phase, newest first."""
    return (
        request(
            "req_06",
            started=NOW - 0.2,
            phase=RequestPhase.ROUTING,
            backend=None,
            model=None,
            status=None,
            prompt_tokens=None,
            completion_tokens=None,
            usage_source="unknown",
            first_token_ms=None,
            total_ms=None,
            finish_reason=None,
            decision=None,
            attempts=(),
        ),
        request(
            "req_05",
            started=NOW - 2.4,
            phase=RequestPhase.WAITING,
            backend="vllm-b",
            model="meta-llama/Llama-3.3-70B-Instruct",
            status=None,
            completion_tokens=None,
            first_token_ms=None,
            total_ms=None,
            finish_reason=None,
        ),
        request(
            "req_04",
            started=NOW - 6.1,
            phase=RequestPhase.STREAMING,
            completion_tokens=88,
            usage_source="estimated",
            total_ms=None,
            finish_reason=None,
            model_asked="claude-3-5-haiku-20241022",
            client="192.168.1.5",
        ),
        request("req_03", started=NOW - 30),
        request(
            "req_02",
            started=NOW - 36,
            phase=RequestPhase.FAILED,
            backend="llamacpp-attic",
            status=502,
            error="llamacpp-attic closed the connection before the answer was whole",
            completion_tokens=None,
            finish_reason=None,
            attempts=(
                AttemptView(
                    backend="llamacpp-attic",
                    model="qwen3:8b",
                    started=NOW - 36,
                    connect_ms=2.0,
                    first_token_ms=900.0,
                    total_ms=1_500.0,
                    error="closed the connection before the answer was whole",
                ),
            ),
        ),
        request("req_01", phase=RequestPhase.CANCELLED, status=499, finish_reason=None),
        request(
            "req_00",
            started=NOW - 4,
            phase=RequestPhase.QUEUED,
            backend=None,
            status=None,
            completion_tokens=None,
            first_token_ms=None,
            total_ms=None,
            finish_reason=None,
            attempts=(),
        ),
    )


LOGS = (
    LogLine(at=NOW - 61, level="info", component="server", message="listening on 127.0.0.1:8000"),
    LogLine(at=NOW - 60, level="debug", component="discovery", message="asking 127.0.0.1:11434"),
    LogLine(at=NOW - 59, level="info", component="registry", message="ollama is up: 3 models"),
    LogLine(
        at=NOW - 50,
        level="warning",
        component="health",
        message="llamacpp-attic did not answer (2 of 3): connection refused",
    ),
    LogLine(
        at=NOW - 40,
        level="error",
        component="relay",
        message="req_02: llamacpp-attic closed the connection before the answer was whole",
    ),
    LogLine(at=NOW - 6, level="info", component="relay", message="req_04: ollama, qwen3:8b"),
)


def snapshot(**changes: Any) -> Snapshot:
    """The whole gateway, changed as asked."""
    taken = Snapshot(
        taken_at=NOW,
        version="0.1.0",
        endpoint="http://127.0.0.1:8000",
        started_at=NOW - 4_385,
        draining=False,
        config_path="nexus.toml",
        strategy="smart",
        totals=Totals(
            requests=1_230,
            failures=7,
            cancelled=2,
            in_flight=5,  # three of them run, two wait
            requests_per_second=0.8,
            tokens_per_second=129.0,
        ),
        backends=backends(),
        requests=requests(),
        logs=LOGS,
        aliases={"claude-*-haiku*": "qwen3:8b"},
        fallbacks={"qwen3:8b": ("gpt-5-mini",)},
        pins={"qwen3:8b": "ollama"},
        problems=("llamacpp-attic is down: connection refused; start it, or remove it",),
        keys=keys(),
        searching=("127.0.0.1:11434 (Ollama)", "127.0.0.1:1234 (LM Studio)", "mDNS _ollama._tcp"),
        quality=qualities(),
        queue=queue(),
        budget=BUDGET,
        trend=trend(),
        spend=spend(),
        trends={"ollama": backend_trend()},
    )
    return msgspec.structs.replace(taken, **changes)


def empty_snapshot(**changes: Any) -> Snapshot:
    """A gateway that has just started and found nothing."""
    nothing = Totals(
        requests=0,
        failures=0,
        cancelled=0,
        in_flight=0,
        requests_per_second=0.0,
        tokens_per_second=0.0,
    )
    empty: dict[str, Any] = {
        "totals": nothing,
        "backends": (),
        "requests": (),
        "logs": (),
        "aliases": {},
        "pins": {},
        "problems": (),
        "quality": (),
        "keys": (),
        "queue": (),
        "budget": None,
        "trend": Trend(),
        "spend": None,
        "trends": {},
    }
    return snapshot(**(empty | changes))
