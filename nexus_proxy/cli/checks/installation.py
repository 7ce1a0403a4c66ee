"""Python, the packages, the clock."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import nexus_proxy
from nexus_proxy.cli.checks.finding import Finding, fail, ok, warn

DISTRIBUTION = "nexus-gateway"
CLOCK_SLACK_SECONDS = 86_400.0
"""Files of another time zone or a restored backup may be a day ahead."""


def versions() -> Iterator[Finding]:
    """What runs here, and whether all that was installed with it is still there."""
    yield ok(
        "versions",
        f"nexus {nexus_proxy.__version__} on Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}",
    )
    present, missing = [], []
    for name in _required():
        try:
            present.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if present:
        yield ok("versions", ", ".join(present))
    if missing:
        yield fail(
            "versions",
            f"missing packages: {', '.join(missing)}",
            f"install it anew: pip install --force-reinstall {DISTRIBUTION}",
        )


def clock(now: float | None = None) -> Iterator[Finding]:
    """A clock that is behind breaks certificates. `now`: seconds since the epoch."""
    now = time.time() if now is None else now
    written = Path(nexus_proxy.__file__).stat().st_mtime
    if written > now + CLOCK_SLACK_SECONDS:
        yield warn(
            "clock",
            "this machine's clock is behind: Nexus was installed "
            f"{(written - now) / 86_400:.0f} days in its future",
            "set the clock; HTTPS refuses certificates by it",
        )


def _required() -> list[str]:
    """Names of the packages that Nexus cannot do without, here."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    needed = [line for line in lines if "extra ==" not in line]
    if platform.system() == "Windows":
        needed = [line for line in needed if "win32" not in line]
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]
