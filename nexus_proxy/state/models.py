"""A model as one backend serves it."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Capability(str, Enum):
    """What a model can do. Absent from both sets of a `ModelInfo`: unknown, and allowed."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    TOOLS = "tools"
    VISION = "vision"
    AUDIO = "audio"
    THINKING = "thinking"
    JSON_SCHEMA = "json_schema"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"
    """Speech to text, in its language or in English."""
    SPEECH = "speech"
    IMAGES = "images"
    """Makes or changes pictures."""
    MODERATION = "moderation"

    __hash__ = str.__hash__  # in C, and the same; that of `Enum` is written in Python


class ModelInfo(Struct, frozen=True, kw_only=True):
    """One model as one backend serves it.

    `context_length` is what a request can use now, in tokens (llama.cpp: per slot); `max_context`
    what the model was trained for; `max_output` the longest answer, where it is bounded by
    itself. `loaded` is None where the backend does not tell. `remote`
    models are run elsewhere by the backend (Ollama cloud) and live in the zone `open`.
    `vram_bytes` is what it takes of the GPU's memory while it is loaded, where that is told.
    """

    id: str
    context_length: int | None = None
    max_context: int | None = None
    max_output: int | None = None
    can: frozenset[Capability] = frozenset()
    cannot: frozenset[Capability] = frozenset()
    loaded: bool | None = None
    remote: bool = False
    quantization: str | None = None
    parameters: str | None = None
    size_bytes: int | None = None
    vram_bytes: int | None = None
    aliases: tuple[str, ...] = ()
