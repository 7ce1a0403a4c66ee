"""What the command line says about running a gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `nexus` and `nexus serve`. None: not given."""

    config: str | None = None
    host: str | None = None
    port: int | None = None
    log_level: str | None = None
    discovery: bool | None = None
    health_check: bool | None = None
    demo: bool = False
    workers: int = 1

    def flags(self) -> dict[str, object]:
        """Dotted keys and values of what was given, as `config.load.load` takes them."""
        given = {
            "server.host": self.host,
            "server.port": self.port,
            "logging.level": self.log_level,
            "discovery.enabled": self.discovery,
            "health_check.enabled": self.health_check,
        }
        return {key: value for key, value in given.items() if value is not None}


RunUi = Callable[[RunOptions], int]
"""Runs the gateway with a screen; returns the exit code."""


class Attach(Protocol):
    """Runs the screen over the gateway at a URL, with a key; returns the exit code."""

    def __call__(self, url: str, key: str | None, *, read_only: bool) -> int:
        """`read_only`: no act is to be offered, whatever the key opens. Raises `NexusError`."""
