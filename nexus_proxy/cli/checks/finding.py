"""What a check found, and what all checks know."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from nexus_proxy.backends.address import canonical
from nexus_proxy.config.model import Loaded
from nexus_proxy.state import BackendView, Snapshot

if TYPE_CHECKING:
    import httpx


class Level(str, Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True, kw_only=True):
    """One line: the subject, how bad it is, what was found, and the cure where there is one."""

    check: str
    level: Level
    message: str
    fix: str | None = None


class Case(Struct, frozen=True, kw_only=True):
    """What is known before the checks that need it. `snapshot` is None where no gateway tells its
    state. `client` sends no key and follows no redirect."""

    environ: Mapping[str, str]
    loaded: Loaded
    url: str
    client: httpx.AsyncClient
    snapshot: Snapshot | None = None

    def listed(self, url: str) -> BackendView | None:
        """The backend of the running gateway at that address, under whatever name."""
        if self.snapshot is None:
            return None
        wanted = canonical(url)
        return next((b for b in self.snapshot.backends if canonical(b.url) == wanted), None)


def ok(check: str, message: str) -> Finding:
    """As it should be."""
    return Finding(check=check, level=Level.OK, message=message)


def warn(check: str, message: str, fix: str | None = None) -> Finding:
    """May be the reason."""
    return Finding(check=check, level=Level.WARN, message=message, fix=fix)


def fail(check: str, message: str, fix: str | None = None) -> Finding:
    """Does not work."""
    return Finding(check=check, level=Level.FAIL, message=message, fix=fix)
