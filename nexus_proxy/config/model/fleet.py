"""Tables about models in memory: `[lifecycle]` and `[fleet]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from nexus_proxy.config.model.section import Positive, Section


class LifecycleConfig(Section, frozen=True):
    timeout_ms: Annotated[
        int,
        Meta(ge=1000, le=86_400_000, description="Milliseconds to load, unload or move a model."),
    ] = 300_000
    vram_headroom_percent: Annotated[
        int,
        Meta(
            ge=0,
            le=90,
            description="Share of the GPU's memory that stays free when a model is loaded, where "
            "nvidia-smi tells of this machine's.",
        ),
    ] = 20
    vram_heuristic_max_gb: Annotated[
        float,
        Meta(
            gt=0,
            description="Most gigabytes that the loaded models of a backend may take, where nobody "
            "tells how much memory there is.",
        ),
    ] = 16


class FleetConfig(Section, frozen=True):
    enabled: Annotated[
        bool,
        Meta(description="Advise what to load where and when, by the hours of past requests."),
    ] = False
    min_sample_days: Annotated[
        int, Meta(ge=2, le=30, description="Fewer whole days of requests say nothing.")
    ] = 7
    min_request_count: Annotated[
        int, Meta(ge=1, description="Fewer requests for a model say nothing.")
    ] = 100
    analysis_interval_seconds: Annotated[
        Positive, Meta(description="How old advice may be before it is made anew.")
    ] = 3600.0
    max_recommendations: Annotated[int, Meta(ge=1, le=100, description="Only the surest.")] = 5
