"""Reading JSON that nobody vouches for: every value may be missing, null or of another type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from nexus_proxy.config.model import BackendType

MAX_MODELS = 2000
"""Longest model list that is taken over; the rest is left out."""
MAX_TEXT = 512
"""Longest id, version or label, in characters."""


def decode(body: bytes) -> Any:
    """The JSON value in `body`, or None where it is none (or `null`)."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects in `value` if it is a list; at most `MAX_MODELS`."""
    if not isinstance(value, list):
        return []
    return [item for item in value[:MAX_MODELS] if isinstance(item, dict)]


def text(value: Any) -> str | None:
    """`value` if it is a string of sensible length without control characters, else None.

    Ids end up in headers, logs and on screens: line breaks, escape sequences and direction marks
    have no business in them.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        return None
    return value if value.isprintable() else None


def texts(value: Any) -> tuple[str, ...]:
    """The strings in `value` if it is a list."""
    return tuple(t for t in map(text, value) if t) if isinstance(value, list) else ()


def count(value: Any) -> int | None:
    """`value` as a positive whole number, else None: a zero here stands for unknown."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value < 2**53 else None


def flag(value: Any) -> bool | None:
    """`value` if it is true or false, else None."""
    return value if isinstance(value, bool) else None


def parameters(number: int | None) -> str | None:
    """A number of weights as people say it: `135M`, `1.5B`."""
    if number is None:
        return None
    if number < 1e9:
        return f"{number / 1e6:.0f}M"
    return f"{number / 1e9:.1f}".removesuffix(".0") + "B"


def model_entries(value: Any) -> list[Mapping[str, Any]] | None:
    """The entries with an id in an OpenAI-like model list, or None where `value` is no such list.

    Takes `{"data": […]}` and the bare list that some resellers answer.
    """
    listed = value if isinstance(value, list) else mapping(value).get("data")
    if not isinstance(listed, list):
        return None
    return [entry for entry in objects(listed) if text(entry.get("id"))]


def owner(entries: list[Mapping[str, Any]]) -> str | None:
    """`owned_by` of the first entry, lower case: the word by which servers give themselves away."""
    name = text(entries[0].get("owned_by")) if entries else None
    return name.lower() if name else None


OWNERS = {
    "llamacpp": BackendType.LLAMACPP,
    "vllm": BackendType.VLLM,
    "exo": BackendType.EXO,
    "organization_owner": BackendType.LMSTUDIO,
    "library": BackendType.OLLAMA,
}
"""What servers write into `owned_by` [run: llama.cpp, vLLM; read: the others]."""
