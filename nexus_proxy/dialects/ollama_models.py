"""What Ollama's clients are told of models: lists, details, what is loaded, the version.

What Nexus does not know is left out, never made up: the architecture is `nexus`, since clients look
the context length up under its name; families and times of expiry may be missing, and a size that
nobody tells (vLLM does not) is 0. What runs on a cloud is told to be remote, for which
`ollama list` shows `-`.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from nexus_proxy.dialects.base import Json
from nexus_proxy.state import Capability, ModelInfo

Named = tuple[str, ModelInfo]
"""A name that clients may ask for, and the model behind it."""

VERSION = "0.33.0"
"""Of Ollama's API as it is followed here. VS Code wants 0.6.4 at least."""
UNTIMED = "1970-01-01T00:00:00Z"
"""No backend but Ollama knows when a model changed, and it must not change between two calls."""
_ARCHITECTURE = "nexus"
_WORDS = {
    Capability.CHAT: "completion",
    Capability.COMPLETIONS: "completion",
    Capability.EMBEDDINGS: "embedding",
    Capability.TOOLS: "tools",
    Capability.VISION: "vision",
    Capability.AUDIO: "audio",
    Capability.THINKING: "thinking",
}


def version() -> Json:
    """`GET /api/version`."""
    return {"version": VERSION}


def tags(models: Iterable[Named]) -> Json:
    """`GET /api/tags`."""
    return {
        "models": [
            {
                **_entry(name, info),
                **({"remote_model": name} if info.remote else {}),
                "modified_at": UNTIMED,
                "capabilities": _capabilities(info),
            }
            for name, info in models
        ]
    }


def ps(models: Iterable[Named]) -> Json:
    """`GET /api/ps`: those that are known to be loaded."""
    return {
        "models": [
            {**_entry(name, info), **_context(info)} for name, info in models if info.loaded is True
        ]
    }


def show(name: str, info: ModelInfo) -> Json:
    """`POST /api/show`, as VS Code and others read it."""
    context = info.context_length or info.max_context
    length = {f"{_ARCHITECTURE}.context_length": context} if context else {}
    return {
        "modified_at": UNTIMED,
        "details": _details(info),
        "model_info": {
            "general.architecture": _ARCHITECTURE,
            "general.basename": name,
            **length,
        },
        "capabilities": _capabilities(info),
        "parameters": "",
        "template": "",
    }


def _entry(name: str, info: ModelInfo) -> Json:
    return {
        "name": name,
        "model": name,
        "size": info.size_bytes or 0,
        "digest": sha256(name.encode("utf-8", "replace")).hexdigest(),
        "details": _details(info),
    }


def _details(info: ModelInfo) -> Json:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": info.parameters or "",
        "quantization_level": info.quantization or "",
        **_context(info),
    }


def _context(info: ModelInfo) -> Json:
    context = info.context_length or info.max_context
    return {"context_length": context} if context else {}


def _capabilities(info: ModelInfo) -> list[str]:
    """What the model is known to do; where nothing is known, that it generates."""
    words = {word for ability, word in _WORDS.items() if ability in info.can}
    return sorted(words) or ["completion"]
