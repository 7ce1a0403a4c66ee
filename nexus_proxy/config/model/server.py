"""The gateway itself: `[server]`, `[timeouts]`, `[state]` and `[logging]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from nexus_proxy.config.model.section import Positive, Section
from nexus_proxy.config.model.words import LogFormat, LogLevel

DEFAULT_PORT = 8000


class ServerConfig(Section, frozen=True):
    host: Annotated[str, Meta(description="Address to listen on. Loopback by default.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0 takes any free one.")] = (
        DEFAULT_PORT
    )
    max_body_mb: Annotated[
        float, Meta(gt=0, description="Larger requests are refused with 413.")
    ] = 64
    allowed_origins: Annotated[
        list[str],
        Meta(
            description="Browser origins that may call the gateway, as globs. "
            "Empty: loopback pages and desktop apps."
        ),
    ] = field(default_factory=list)
    management_key_env: Annotated[
        str | None,
        Meta(
            description="Variable that holds the key for the management API off loopback.",
            examples=["NEXUS_MANAGEMENT_KEY"],
        ),
    ] = None
    allow_unauthenticated: Annotated[
        bool, Meta(description="Listen off loopback although no API key is set up.")
    ] = False


class TimeoutsConfig(Section, frozen=True):
    connect_seconds: Annotated[Positive, Meta(description="To open a connection.")] = 3.0
    first_token_seconds: Annotated[
        Positive | None,
        Meta(
            description="From request to first token. Default: 600 local, 120 cloud.",
            examples=[600.0],
        ),
    ] = None
    idle_seconds: Annotated[Positive, Meta(description="Between two tokens.")] = 120.0
    total_seconds: Annotated[
        Positive | None,
        Meta(description="For the whole answer. Default: no limit.", examples=[3600.0]),
    ] = None
    load_seconds: Annotated[Positive, Meta(description="For a model that is being loaded.")] = 600.0


class StateConfig(Section, frozen=True):
    path: Annotated[
        str | None,
        Meta(
            description="File for spend, quality and history. Default: nexus.db in the user's "
            "data folder.",
            examples=["/var/lib/nexus/nexus.db"],
        ),
    ] = None
    url: Annotated[
        str | None,
        Meta(
            description="Redis or Valkey server through which several gateways share budgets, "
            "limits of API keys, drains and pins.",
            examples=["redis://10.0.0.5:6379/0"],
        ),
    ] = None
    password_env: Annotated[
        str | None,
        Meta(
            description="Variable that holds the password of that server.",
            examples=["REDIS_PASSWORD"],
        ),
    ] = None


class LoggingConfig(Section, frozen=True):
    level: Annotated[LogLevel, Meta(description="debug, info, warning or error.")] = LogLevel.INFO
    format: Annotated[LogFormat, Meta(description="pretty or json.")] = LogFormat.PRETTY
    component_levels: Annotated[
        dict[str, LogLevel],
        Meta(description="Level of one part of Nexus.", examples=[{"relay": "debug"}]),
    ] = field(default_factory=dict)
    enable_content_logging: Annotated[
        bool,
        Meta(
            description="true: what is asked and answered is written into the log line of each "
            "request, 4000 characters of each. Keys never are."
        ),
    ] = False
