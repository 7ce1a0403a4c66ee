from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from nexus_proxy.config.diff import diff
from nexus_proxy.config.model import (
    BackendConfig,
    Config,
    PolicyConfig,
    PriceConfig,
    RoutingConfig,
    ServerConfig,
    Strategy,
    TimeoutsConfig,
)
from tests.unit.config.strategies import CONFIGS


def gpu(**keys: object) -> BackendConfig:
    return BackendConfig(name="gpu", url="http://gpu", **keys)  # type: ignore[arg-type]


def test_a_line_per_key() -> None:
    old = Config(
        server=ServerConfig(allowed_origins=["a"]),
        routing=RoutingConfig(
            pins={"m": "gpu", "n": "gpu"}, policies=[PolicyConfig(model_pattern="a")]
        ),
        backends=[gpu(), BackendConfig(name="old box", url="http://x")],
    )
    new = Config(
        server=ServerConfig(allowed_origins=["a", "b"]),
        timeouts=TimeoutsConfig(total_seconds=5.0),
        routing=RoutingConfig(
            strategy=Strategy.RANDOM,
            pins={"m": "mac", "gpt-4.1": "gpu"},
            policies=[PolicyConfig(model_pattern="b"), PolicyConfig(model_pattern="c")],
        ),
        backends=[BackendConfig(name="mac", url="http://m"), gpu(priority=10, zone="open")],
    )
    assert diff(old, new) == (
        'server.allowed_origins: ["a"] -> ["a", "b"]',
        "timeouts.total_seconds: none -> 5.0",
        "routing.strategy: smart -> random",
        "routing.pins.m: gpu -> mac",
        "routing.pins.n: gpu -> none",
        'routing.pins."gpt-4.1": none -> gpu',
        "routing.policies[0].model_pattern: a -> b",
        "routing.policies[1]: added",
        "backends.gpu.priority: 50 -> 10",
        "backends.gpu.zone: none -> open",
        'backends."old box": removed',
        "backends.mac: added",
    )
    assert "routing.policies[1]: removed" in diff(new, old)


def test_prices_change_by_their_place_in_the_file() -> None:
    old = Config(prices=[PriceConfig(model="a", input_usd_per_million=1.0)])
    new = Config(prices=[PriceConfig(model="a", input_usd_per_million=2.0), PriceConfig(model="b")])
    assert diff(old, new) == ("prices[0].input_usd_per_million: 1.0 -> 2.0", "prices[1]: added")


def test_text_that_could_be_misread_is_quoted() -> None:
    old, new = Config(backends=[gpu()]), Config(backends=[gpu(tags=["\x1b[2J"], api_key_env="")])
    assert diff(old, new) == (
        'backends.gpu.api_key_env: none -> ""',
        'backends.gpu.tags: [] -> ["\\u001b[2J"]',
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(CONFIGS, CONFIGS)
def test_lines_are_for_people_and_none_means_no_change(old: Config, new: Config) -> None:
    lines = diff(old, new)
    assert all(line.isprintable() for line in lines)
    assert diff(old, old) == ()
    ordered = [sorted(config.backends, key=lambda b: b.name) for config in (old, new)]
    if not lines:
        assert ordered[0] == ordered[1]
        assert old.routing == new.routing
