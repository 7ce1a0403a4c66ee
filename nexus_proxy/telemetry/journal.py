"""Events told to the log, in sentences."""

from __future__ import annotations

import logging

from nexus_proxy.events import (
    AirplaneChanged,
    BackendAdded,
    BackendChanged,
    BackendRemoved,
    BudgetLevelChanged,
    ConfigReloaded,
    DiscoveryNoted,
    Event,
    GatewayDraining,
    OperationChanged,
    QualityChanged,
)

log = logging.getLogger("nexus_proxy.gateway")

TOLD = (
    BackendAdded,
    BackendRemoved,
    BackendChanged,
    DiscoveryNoted,
    ConfigReloaded,
    GatewayDraining,
    QualityChanged,
    AirplaneChanged,
    OperationChanged,
)
"""Kinds of event that the journal writes down; requests have a log of their own."""


def journal(event: Event) -> None:
    """Log one event."""
    match event:
        case BackendAdded(name=name):
            log.debug("%s is listed", name)
        case BackendRemoved(name=name):
            log.info("%s is no longer listed", name)
        case BackendChanged(name=name, what=what):
            log.info("%s %s", name, what)
        case QualityChanged(backend=backend, what=what):
            log.warning("%s %s", backend, what)
        case BudgetLevelChanged(level=level, what=what):
            log.log(logging.INFO if level == "ok" else logging.WARNING, "%s", what)
        case DiscoveryNoted(note=note):
            log.info("%s", note)
        case ConfigReloaded(error=str(error)):
            log.error("the changed configuration was refused: %s", error)
        case ConfigReloaded(diff=diff) if diff:
            log.info("configuration applied: %s", "; ".join(diff))
        case AirplaneChanged(on=on):
            log.warning("airplane mode: %s", "nothing goes to clouds" if on else "off")
        case OperationChanged(what=what, failed=failed):
            log.log(logging.WARNING if failed else logging.INFO, "%s", what)
        case GatewayDraining():
            log.info("draining: no new requests")
