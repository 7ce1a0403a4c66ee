"""Configurations at random: valid ones, files with comments and odd layouts, and nonsense."""

from __future__ import annotations

import string
from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st

from nexus_proxy.config.keys import leaves, literal, quoted
from nexus_proxy.config.model import (
    BackendConfig,
    BackendType,
    Config,
    DiscoveryConfig,
    HealthCheckConfig,
    KeyConfig,
    LogFormat,
    LoggingConfig,
    LogLevel,
    PolicyConfig,
    PriceConfig,
    Priority,
    Privacy,
    QualityConfig,
    RoutingConfig,
    ServerConfig,
    Strategy,
    TimeoutsConfig,
    TrustMdns,
    WeightsConfig,
    Zone,
)

NAMES = st.one_of(
    st.sampled_from(["gpu", "laptop", "qwen3:8b", "gpt-4.1", "hf.co/a/b:Q4", 'x"y', "a b", "é"]),
    st.text(string.ascii_letters + string.digits + ".:/_-", min_size=1, max_size=12),
)
VARIABLES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True)
SECONDS = st.floats(0.001, 1e6)
TIERS = st.integers(1, 5)
USD = st.floats(0, 10_000)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


BACKENDS = st.builds(
    BackendConfig,
    name=NAMES,
    url=st.sampled_from(["http://localhost:11434", "https://api.example/v1/", "http://[::1]:1"]),
    type=optional(st.sampled_from(BackendType)),
    priority=st.integers(0, 100),
    api_key_env=optional(VARIABLES),
    zone=optional(st.sampled_from([zone.label for zone in Zone])),
    tier=optional(TIERS),
    max_concurrent=optional(st.integers(1, 64)),
    tags=st.lists(st.text(max_size=5), max_size=3),
    enabled=st.booleans(),
    drained=st.booleans(),
    models=st.lists(NAMES | st.just("qwen*"), max_size=2),
)

PRICES = st.builds(
    PriceConfig,
    model=NAMES | st.just("gpt-*"),
    backend=optional(NAMES),
    input_usd_per_million=USD,
    output_usd_per_million=optional(USD),
)


API_KEYS = st.builds(
    KeyConfig,
    name=NAMES,
    hash=st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
    zone=optional(st.sampled_from([zone.label for zone in Zone])),
    monthly_limit_usd=optional(st.floats(0, 1e6)),
    requests_per_minute=optional(st.integers(1, 10_000)),
    tokens_per_minute=optional(st.integers(1, 10_000_000)),
    models=st.lists(NAMES | st.just("qwen*"), max_size=2),
    priority=st.sampled_from(Priority),
)


@st.composite
def routings(draw: st.DrawFn) -> RoutingConfig:
    """Aliases only lead to names that are no alias, so that they cannot go in circles."""
    models = draw(st.lists(NAMES, unique=True, max_size=6))
    targets = st.sampled_from([f"to-{name}" for name in models] or ["to"])
    return RoutingConfig(
        strategy=draw(st.sampled_from(Strategy)),
        max_retries=draw(st.integers(0, 10)),
        weights=draw(st.builds(WeightsConfig, priority=st.integers(0, 100))),
        aliases={name: draw(targets) for name in models[::2]},
        fallbacks={name: draw(st.lists(targets, max_size=2)) for name in models[1::2]},
        pins=draw(st.dictionaries(NAMES, NAMES, max_size=3)),
        policies=draw(
            st.lists(
                st.builds(
                    PolicyConfig,
                    model_pattern=NAMES | st.just("*-private"),
                    privacy=st.sampled_from(Privacy),
                    min_tier=optional(TIERS),
                    fallback_allowed=st.booleans(),
                ),
                max_size=3,
            )
        ),
    )


CONFIGS = st.builds(
    Config,
    server=st.builds(
        ServerConfig,
        host=st.sampled_from(["127.0.0.1", "::1", "localhost"]),
        port=st.integers(0, 65535),
        max_body_mb=st.floats(0.1, 1e3),
        management_key_env=optional(VARIABLES),
    ),
    timeouts=st.builds(TimeoutsConfig, idle_seconds=SECONDS, total_seconds=optional(SECONDS)),
    discovery=st.builds(DiscoveryConfig, trust_mdns=st.sampled_from(TrustMdns)),
    health_check=st.builds(HealthCheckConfig, failure_threshold=st.integers(1, 9)),
    routing=routings(),
    quality=st.builds(
        QualityConfig,
        error_rate_threshold=st.floats(0.01, 1.0),
        min_samples=st.integers(1, 1000),
        metrics_interval_seconds=st.floats(1.0, 3600.0),
    ),
    logging=st.builds(
        LoggingConfig,
        level=st.sampled_from(LogLevel),
        format=st.sampled_from(LogFormat),
        component_levels=st.dictionaries(NAMES, st.sampled_from(LogLevel), max_size=2),
    ),
    backends=st.lists(BACKENDS, max_size=3, unique_by=lambda backend: backend.name),
    prices=st.lists(PRICES, max_size=2),
    keys=st.lists(API_KEYS, max_size=2, unique_by=(lambda key: key.name, lambda key: key.hash)),
)


def without_none(tree: Any) -> Any:
    """What can be written: TOML has no null."""
    if isinstance(tree, dict):
        return {key: without_none(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [without_none(item) for item in tree]
    return tree


class Layout:
    """Writes a configuration as people do: comments, blank lines, any order, several styles.

    Each comment is unique, so that a test can ask for every one of them again. One random
    generator decides, since a draw of hypothesis for each decision takes too long.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.comments = 0

    def comment(self) -> str:
        self.comments += 1
        return f"# comment {self.comments}"

    def maybe(self, *texts: str) -> list[str]:
        return list(texts) if self.random.random() < 0.5 else []

    def lead(self) -> list[str]:
        return [*self.maybe(""), *self.maybe(self.comment()), *self.maybe(self.comment(), "")]

    def pair(self, key: str, value: Any) -> list[str]:
        space, tail = self.random.choice(["", " ", "  "]), self.maybe("  " + self.comment())
        line = f"{quoted(key)}{space}={space}{literal(value)}{''.join(tail)}"
        return [*self.maybe(self.comment()), line]

    def table(self, header: str, values: Mapping[str, Any]) -> list[str]:
        scalars = {k: v for k, v in values.items() if not is_table(v)}
        lines = [*self.lead(), header + "".join(self.maybe(" " + self.comment()))]
        for key, value in self.shuffled(scalars):
            lines += self.pair(key, value)
        return [*lines, *self.maybe(self.comment())]

    def inside(self, name: str, values: Mapping[str, Any]) -> list[str]:
        """A table and its own tables, the empty ones too."""
        lines = self.table(f"[{name}]", values)
        for key, value in self.shuffled({k: v for k, v in values.items() if is_table(v)}):
            path = f"{name}.{quoted(key)}"
            if isinstance(value, dict):
                lines += self.inside(path, value)
            else:
                lines += [line for item in value for line in self.table(f"[[{path}]]", item)]
        return lines

    def shuffled(self, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return self.random.sample(list(values.items()), len(values))

    def file(self, tree: Mapping[str, Any]) -> str:
        lines: list[str] = self.lead()
        inline = [key for key in tree if self.random.random() < 0.1]
        for key in inline:  # must come before the first header
            lines += self.pair(key, tree[key])
        for key, value in self.shuffled({k: v for k, v in tree.items() if k not in inline}):
            if isinstance(value, dict):
                lines += self.inside(key, value)
            else:
                lines += [line for item in value for line in self.table(f"[[{key}]]", item)]
        return "\n".join([*lines, *self.maybe(self.comment())]) + self.random.choice(
            ["", "\n", "\n\n"]
        )


def is_table(value: Any) -> bool:
    """Whether a value is written below a header."""
    return isinstance(value, dict) or (
        isinstance(value, list) and value != [] and isinstance(value[0], dict)
    )


@st.composite
def files(draw: st.DrawFn) -> str:
    """The text of a valid file."""
    layout = Layout(Random(draw(st.integers(0, 2**32))))
    return layout.file(without_none(msgspec.to_builtins(draw(CONFIGS))))


REAL_KEYS = sorted({str(key) for path, _ in leaves(msgspec.to_builtins(Config())) for key in path})
KEYS = st.sampled_from([*REAL_KEYS, "name", "url", "model_pattern", "models"]) | st.text(max_size=4)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.sampled_from(["smart", "restricted", "http://x", "*", "[", "gpu", "0.0.0.0"]),
)
NONSENSE = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)
"""Trees that TOML can hold and the model mostly cannot."""
