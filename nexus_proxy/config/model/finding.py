"""Finding backends and judging them: `[discovery]`, `[health_check]` and `[quality]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from nexus_proxy.config.model.section import Positive, Section
from nexus_proxy.config.model.words import TrustMdns


class DiscoveryConfig(Section, frozen=True):
    enabled: Annotated[bool, Meta(description="Look for backends at all.")] = True
    local_ports: Annotated[bool, Meta(description="Probe well-known loopback ports.")] = True
    mdns: Annotated[bool, Meta(description="Browse the LAN for announced backends.")] = True
    service_types: Annotated[list[str], Meta(description="mDNS service types to browse.")] = field(
        default_factory=lambda: [
            "_nexus._tcp.local.",
            "_ollama._tcp.local.",
            "_llm._tcp.local.",
            "_openai._tcp.local.",
            "_saturn._tcp.local.",
        ]
    )
    trust_mdns: Annotated[
        TrustMdns,
        Meta(description="ask: listed, no traffic until accepted. always, never."),
    ] = TrustMdns.ASK
    cloud_from_env: Annotated[
        bool,
        Meta(description="List a cloud backend, disabled, for each provider key found."),
    ] = True
    grace_period_seconds: Annotated[
        Positive, Meta(description="A vanished mDNS backend is removed after this.")
    ] = 60.0


class HealthCheckConfig(Section, frozen=True):
    enabled: Annotated[bool, Meta(description="Off: backends count as up.")] = True
    interval_seconds: Annotated[Positive, Meta(description="Between two checks.")] = 10.0
    timeout_seconds: Annotated[Positive, Meta(description="For one check.")] = 5.0
    failure_threshold: Annotated[
        int, Meta(ge=1, description="Failures in a row before a backend counts as down.")
    ] = 3
    recovery_threshold: Annotated[
        int, Meta(ge=1, description="Successes in a row before it counts as up again.")
    ] = 2


class QualityConfig(Section, frozen=True):
    error_rate_threshold: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="A backend with this share of faults in its last 20 requests for a model "
            "is left out, while another can serve.",
        ),
    ] = 0.5
    min_samples: Annotated[
        int, Meta(ge=1, le=1000, description="Fewer requests say nothing about a backend.")
    ] = 5
    ttft_penalty_threshold_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=3_600_000,
            description="A median first-token time above this lowers the score. 0: never.",
        ),
    ] = 3000
    metrics_interval_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="How often scores are made anew, and saved."),
    ] = 30.0
