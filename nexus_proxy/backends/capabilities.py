"""The words with which servers say what a model can do, as Nexus' own."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_proxy.state import Capability

GENERATES = frozenset({Capability.CHAT, Capability.COMPLETIONS})
NEEDS_GENERATION = GENERATES | {
    Capability.TOOLS,
    Capability.VISION,
    Capability.AUDIO,
    Capability.THINKING,
    Capability.JSON_SCHEMA,
}
"""What a model that only embeds or ranks cannot do."""

DIRECT = frozenset(
    {
        Capability.RERANK,
        Capability.TRANSCRIPTION,
        Capability.SPEECH,
        Capability.IMAGES,
        Capability.MODERATION,
    }
)
"""What has a route of its own, which many servers do not have."""

_WORDS: dict[str, frozenset[Capability]] = {
    "chat": frozenset({Capability.CHAT}),
    "text": frozenset({Capability.CHAT}),
    "completion": GENERATES,
    "completions": frozenset({Capability.COMPLETIONS}),
    "embedding": frozenset({Capability.EMBEDDINGS}),
    "embeddings": frozenset({Capability.EMBEDDINGS}),
    "rerank": frozenset({Capability.RERANK}),
    "reranker": frozenset({Capability.RERANK}),
    "reranking": frozenset({Capability.RERANK}),
    "tools": frozenset({Capability.TOOLS}),
    "tool_use": frozenset({Capability.TOOLS}),
    "tool_calling": frozenset({Capability.TOOLS}),
    "function_calling": frozenset({Capability.TOOLS}),
    "vision": frozenset({Capability.VISION}),
    "audio": frozenset({Capability.AUDIO}),
    "thinking": frozenset({Capability.THINKING}),
    "reasoning": frozenset({Capability.THINKING}),
    "transcription": frozenset({Capability.TRANSCRIPTION}),
    "speech_to_text": frozenset({Capability.TRANSCRIPTION}),
    "speech": frozenset({Capability.SPEECH}),
    "text_to_speech": frozenset({Capability.SPEECH}),
    "image_generation": frozenset({Capability.IMAGES}),
    "moderation": frozenset({Capability.MODERATION}),
    "json_schema": frozenset({Capability.JSON_SCHEMA}),
    "structured_outputs": frozenset({Capability.JSON_SCHEMA}),
}


def understood(words: Iterable[str]) -> frozenset[Capability]:
    """The capabilities that `words` name; unknown words are passed over."""
    found: set[Capability] = set()
    for word in words:
        found |= _WORDS.get(word.lower().replace("-", "_"), frozenset())
    return frozenset(found)


def denied_by(can: frozenset[Capability]) -> frozenset[Capability]:
    """What follows from `can`: a model said to embed or rank, and nothing of text, is no chat
    model."""
    only_vectors = can & {Capability.EMBEDDINGS, Capability.RERANK} and not can & GENERATES
    return NEEDS_GENERATION if only_vectors else frozenset()
