"""What environment variables and flags say of single keys."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from nexus_proxy.config.keys import KeyPath, dotted, literal
from nexus_proxy.config.rules import FORMATS
from nexus_proxy.config.shape import annotation_of, misfit, plain, wanted
from nexus_proxy.config.values import Fault
from nexus_proxy.errors import ConfigError


class Override(NamedTuple):
    """A key that a variable and a flag can set over the file."""

    key: tuple[str, str]
    variable: str
    flag: str


OVERRIDES = (
    Override(("server", "host"), "NEXUS_HOST", "--host"),
    Override(("server", "port"), "NEXUS_PORT", "--port"),
    Override(("logging", "level"), "NEXUS_LOG_LEVEL", "--log-level"),
    Override(("logging", "format"), "NEXUS_LOG_FORMAT", "--log-format"),
    Override(("discovery", "enabled"), "NEXUS_DISCOVERY", "--no-discovery"),
    Override(("health_check", "enabled"), "NEXUS_HEALTH_CHECK", "--no-health-check"),
)
BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


LONGEST_INT = 18
"""Digits. Longer numbers fit no key, and Python reads very long ones slowly."""


class Given(NamedTuple):
    """One value from outside the file, and the variable or flag it came from."""

    key: tuple[str, str]
    value: Any
    origin: str


def given(
    environ: Mapping[str, str], flags: Mapping[str, object]
) -> tuple[list[Given], list[ConfigError]]:
    """The values that count over the file's, flags over variables; and those that cannot be used.

    A flag of None was not given.
    """
    usable: list[Given] = []
    wrong: list[ConfigError] = []
    for key, variable, flag in OVERRIDES:
        value, origin = flags.get(dotted(key)), flag
        if value is None and (text := environ.get(variable)) is not None:
            value, origin = _read(key, text), variable
        if value is None:
            continue
        if fault := _fault(key, value):
            wrong.append(ConfigError(fault.problem, file=origin, key=dotted(key), hint=fault.hint))
        else:
            usable.append(Given(key, msgspec.to_builtins(value), origin))
    return usable, wrong


def _fault(key: KeyPath, value: object) -> Fault | None:
    if value == "":
        return Fault("is set, but empty", "unset it or give it a value")
    annotation = annotation_of(key)
    if fault := misfit(annotation, value):
        return Fault(f"must be {wanted(annotation)}, but is {literal(value)}", fault.hint)
    return FORMATS[key](str(value)) if key in FORMATS else None


def _read(key: KeyPath, text: str) -> object:
    """The text as a value of the key's type, or as it is where it is none."""
    text = text.strip()
    kind = plain(annotation_of(key))
    if kind is bool:
        return BOOLEANS.get(text.lower(), text)
    if kind is int:
        return int(text) if text.isdecimal() and len(text) <= LONGEST_INT else text
    return text.lower() if issubclass(kind, Enum) else text
