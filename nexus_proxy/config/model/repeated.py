"""Tables that may stand many times: `[[backends]]`, `[[prices]]` and `[[keys]]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from nexus_proxy.config.model.section import Section, Tier, Usd
from nexus_proxy.config.model.words import BackendType, Priority


class BackendConfig(Section, frozen=True):
    name: Annotated[
        str,
        Meta(min_length=1, description="Unique name, shown everywhere.", examples=["gpu-box"]),
    ]
    url: Annotated[
        str,
        Meta(
            min_length=1,
            description="With or without /v1.",
            examples=["http://192.168.1.20:8000"],
        ),
    ]
    type: Annotated[
        BackendType | None,
        Meta(
            description="ollama, lmstudio, vllm, llamacpp, exo, openai, anthropic, google "
            "or generic. "
            "Left out: found out by asking the server.",
            examples=["vllm"],
        ),
    ] = None
    priority: Annotated[int, Meta(ge=0, description="Lower is preferred.")] = 50
    api_key_env: Annotated[
        str | None, Meta(description="Variable that holds its key.", examples=["GPU_BOX_KEY"])
    ] = None
    zone: Annotated[
        str | None,
        Meta(
            description="How far prompts may travel with it: open, internal, confidential or "
            "restricted. Default: restricted here, internal on the LAN, open in the cloud.",
            examples=["restricted"],
        ),
    ] = None
    tier: Annotated[
        Tier | None, Meta(description="Quality class, 1 to 5. Default: 1.", examples=[2])
    ] = None
    max_concurrent: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Most requests at a time. Default: as it says itself.", examples=[4]),
    ] = None
    tags: Annotated[list[str], Meta(description="Words of your own.")] = field(default_factory=list)
    enabled: Annotated[bool, Meta(description="false: listed, but gets no traffic.")] = True
    drained: Annotated[bool, Meta(description="true: takes no new requests.")] = False
    models: Annotated[list[str], Meta(description="Globs; other models are not served.")] = field(
        default_factory=list
    )


class PriceConfig(Section, frozen=True):
    model: Annotated[
        str,
        Meta(
            min_length=1,
            description="Glob; matched against the id that the backend serves. First match wins.",
            examples=["gpt-4o*"],
        ),
    ]
    backend: Annotated[
        str | None,
        Meta(description="Only on the backend of this name. Default: on any.", examples=["openai"]),
    ] = None
    input_usd_per_million: Annotated[
        Usd | None, Meta(description="USD per million prompt tokens.", examples=[2.5])
    ] = None
    output_usd_per_million: Annotated[
        Usd | None, Meta(description="USD per million generated tokens.", examples=[10.0])
    ] = None
    cached_input_usd_per_million: Annotated[
        Usd | None,
        Meta(
            description="USD per million prompt tokens that the provider had cached.",
            examples=[1.25],
        ),
    ] = None
    cache_write_usd_per_million: Annotated[
        Usd | None,
        Meta(description="USD per million prompt tokens that it puts there.", examples=[2.5]),
    ] = None


class KeyConfig(Section, frozen=True):
    name: Annotated[
        str, Meta(min_length=1, description="Unique name, shown everywhere.", examples=["laptop"])
    ]
    hash: Annotated[
        str,
        Meta(
            min_length=1,
            description="Hash of the secret, as `nexus keys create` writes it.",
            examples=["sha256:" + "0" * 64],
        ),
    ]
    zone: Annotated[
        str | None,
        Meta(
            description="Its requests stay in this zone or a closer one: open, internal, "
            "confidential or restricted.",
            examples=["internal"],
        ),
    ] = None
    monthly_limit_usd: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="Most it may spend in a month. Default: no limit.", examples=[20.0]),
    ] = None
    requests_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="More are refused with 429. Default: no limit.", examples=[60]),
    ] = None
    tokens_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Prompt and answer together; more are refused with 429. Default: no limit.",
            examples=[100_000],
        ),
    ] = None
    models: Annotated[
        list[str],
        Meta(description="Globs of models or aliases it may ask for. Default: all."),
    ] = field(default_factory=list)
    priority: Annotated[Priority, Meta(description="Class in the queue: high or normal.")] = (
        Priority.NORMAL
    )
    watch: Annotated[
        bool,
        Meta(
            description="Its holder may look at everything that an operator sees, and change "
            "nothing: `nexus attach`, `nexus requests`, metrics. Not while prompts are logged."
        ),
    ] = False
