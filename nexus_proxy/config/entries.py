"""One entry of a list of tables that comes from elsewhere than the file, checked like the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from nexus_proxy.config.document import Document
from nexus_proxy.config.load import problems
from nexus_proxy.config.model import KeyConfig, Zone


def key_entry(values: Mapping[str, Any]) -> KeyConfig:
    """A `[[keys]]` entry; None stands for what is not given.

    Raises `ConfigError` for the first thing that is wrong with it.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if wrong := problems(Document(data={"keys": [given]})):
        raise wrong[0]
    if "zone" in given:
        given["zone"] = Zone.parse(given["zone"]).label
    return msgspec.convert(given, KeyConfig)
