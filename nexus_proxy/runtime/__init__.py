"""The product without a screen."""

from nexus_proxy.runtime.runtime import Runtime

__all__ = ["Runtime"]
