"""The whole file, and what was made of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from nexus_proxy.config.model.finding import DiscoveryConfig, HealthCheckConfig, QualityConfig
from nexus_proxy.config.model.fleet import FleetConfig, LifecycleConfig
from nexus_proxy.config.model.repeated import BackendConfig, KeyConfig, PriceConfig
from nexus_proxy.config.model.routing import QueueConfig, RoutingConfig
from nexus_proxy.config.model.section import Section
from nexus_proxy.config.model.server import LoggingConfig, ServerConfig, StateConfig, TimeoutsConfig


class Config(Section, frozen=True):
    """The whole file."""

    server: ServerConfig = field(default_factory=ServerConfig)
    timeouts: TimeoutsConfig = field(default_factory=TimeoutsConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    health_check: HealthCheckConfig = field(default_factory=HealthCheckConfig)
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    state: StateConfig = field(default_factory=StateConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    lifecycle: LifecycleConfig = field(default_factory=LifecycleConfig)
    fleet: FleetConfig = field(default_factory=FleetConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    backends: Annotated[
        list[BackendConfig],
        Meta(description="Backends that are not found by themselves, or that need settings."),
    ] = field(default_factory=list)
    prices: Annotated[
        list[PriceConfig],
        Meta(
            description="What models cost, where the public prices of OpenAI, Anthropic and Google "
            "are not yours. What is left out is as public, and unknown where nothing is public."
        ),
    ] = field(default_factory=list)
    keys: Annotated[
        list[KeyConfig],
        Meta(
            description="API keys of clients. With one or more, every request needs one, on "
            "this machine too."
        ),
    ] = field(default_factory=list)


Origins = dict[str, str]
"""Dotted key -> where its value came from: `default`, `file:line`, `NEXUS_PORT`, `--port`."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A validated configuration and where each value came from."""

    config: Config
    origins: Origins = field(default_factory=dict)
    path: str | None = None
