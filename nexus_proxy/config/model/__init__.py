"""What can be configured: every key with its type, default, bounds and one line of help.

The structs are frozen: a reload makes a new `Config` and swaps it in. `Meta(description=…)` is
the help text that `nexus config init` writes beside the key, and the first of its `examples` what
it shows for a key without a default. Durations are seconds and money is
USD unless the key's name says otherwise.
"""

from nexus_proxy.config.model.finding import DiscoveryConfig, HealthCheckConfig, QualityConfig
from nexus_proxy.config.model.fleet import FleetConfig, LifecycleConfig
from nexus_proxy.config.model.repeated import BackendConfig, KeyConfig, PriceConfig
from nexus_proxy.config.model.routing import (
    BudgetConfig,
    PolicyConfig,
    QueueConfig,
    RoutingConfig,
    WeightsConfig,
)
from nexus_proxy.config.model.server import (
    DEFAULT_PORT,
    LoggingConfig,
    ServerConfig,
    StateConfig,
    TimeoutsConfig,
)
from nexus_proxy.config.model.whole import Config, Loaded, Origins
from nexus_proxy.config.model.words import (
    BackendType,
    BudgetAction,
    LogFormat,
    LogLevel,
    Priority,
    Privacy,
    Strategy,
    TrustMdns,
    Zone,
)

__all__ = [
    "DEFAULT_PORT",
    "BackendConfig",
    "BackendType",
    "BudgetAction",
    "BudgetConfig",
    "Config",
    "DiscoveryConfig",
    "FleetConfig",
    "HealthCheckConfig",
    "KeyConfig",
    "LifecycleConfig",
    "Loaded",
    "LogFormat",
    "LogLevel",
    "LoggingConfig",
    "Origins",
    "PolicyConfig",
    "PriceConfig",
    "Priority",
    "Privacy",
    "QualityConfig",
    "QueueConfig",
    "RoutingConfig",
    "ServerConfig",
    "StateConfig",
    "Strategy",
    "TimeoutsConfig",
    "TrustMdns",
    "WeightsConfig",
    "Zone",
]
