"""The one mutable store of backends and their models."""

from nexus_proxy.registry.backend import RECENT_ERRORS, Backend, Claim
from nexus_proxy.registry.registry import EMA_WEIGHT, Registry

__all__ = ["EMA_WEIGHT", "RECENT_ERRORS", "Backend", "Claim", "Registry"]
