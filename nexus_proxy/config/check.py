"""Everything that is wrong with a configuration, not only the first thing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nexus_proxy.config.load import assemble
from nexus_proxy.errors import ConfigError


def check(path: Path | None, environ: Mapping[str, str]) -> list[ConfigError]:
    """All problems of the file and of the variables over it: the file's first, by line.

    `path` None checks the variables alone. An empty list means that `load` would succeed.
    """
    return assemble(path, environ, {})[1]
