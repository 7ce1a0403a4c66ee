"""Kinds of backend: a table of built-ins, and entry points under `nexus.backends` beside them.

An entry point names a subclass of `Adapter`; it takes the place of the built-in of its `type`.
"""

from __future__ import annotations

import logging
from functools import cache

from nexus_proxy.backends.anthropic import Anthropic
from nexus_proxy.backends.base import Adapter
from nexus_proxy.backends.exo import Exo
from nexus_proxy.backends.generic import Generic
from nexus_proxy.backends.google import Google
from nexus_proxy.backends.llamacpp import LlamaCpp
from nexus_proxy.backends.lmstudio import LmStudio
from nexus_proxy.backends.ollama import Ollama
from nexus_proxy.backends.openai import OpenAi
from nexus_proxy.backends.vllm import Vllm
from nexus_proxy.config.model import BackendType

ENTRY_POINTS = "nexus.backends"
BUILT_IN: tuple[type[Adapter], ...] = (
    LlamaCpp,
    Ollama,
    LmStudio,
    Vllm,
    Exo,
    OpenAi,
    Anthropic,
    Google,
    Generic,
)

log = logging.getLogger(__name__)


def adapter_for(type: BackendType) -> Adapter:
    """The adapter for a kind of backend; always the same object."""
    return _adapters()[type]


@cache
def _adapters() -> dict[BackendType, Adapter]:
    kinds: dict[BackendType, type[Adapter]] = {kind.type: kind for kind in BUILT_IN}
    kinds.update({kind.type: kind for kind in _offered()})
    return {type: kind() for type, kind in kinds.items()}


def _offered() -> list[type[Adapter]]:
    from importlib.metadata import entry_points

    kinds = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            kind = point.load()
        except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything
            log.warning(
                "the backend plugin %s (%s) is left out: %s", point.name, point.value, error
            )
            continue
        if isinstance(kind, type) and issubclass(kind, Adapter):
            kinds.append(kind)
        else:
            log.warning(
                "the backend plugin %s (%s) is left out: it is no Adapter", point.name, point.value
            )
    return kinds
