"""Anthropic's counts as chat's. Its input leaves out what was read from and written to the cache;
chat's prompt is all of it."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.openai import ABSENT, UNREADABLE, says_nothing
from nexus_proxy.dialects.openai_stream import (
    MOST_TOKENS,
    CompletionDetails,
    PromptDetails,
    Usage,
)


class _Written(Struct):
    ephemeral_1h_input_tokens: int | None = None


class _Made(Struct):
    thinking_tokens: int | None = None


class Counted(Struct):
    """What one event or answer tells, in tokens. None: nothing of that."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Written | None = None
    output_tokens_details: _Made | None = None
    service_tier: str | None = None

    def update(self, later: Counted) -> None:
        """Take over what a later event of the same stream tells: its counts are cumulative."""
        for name in self.__struct_fields__:
            if (told := getattr(later, name)) is not None:
                setattr(self, name, told)

    def usage(self) -> Usage | None:
        """None where it says nothing that could be counted."""
        read, made = _count(self.input_tokens), _count(self.output_tokens)
        if read is None and made is None:
            return None
        hits = _count(self.cache_read_input_tokens) or 0
        written = _count(self.cache_creation_input_tokens) or 0
        kept = (self.cache_creation or _Written()).ephemeral_1h_input_tokens
        thought = (self.output_tokens_details or _Made()).thinking_tokens
        prompt = None if read is None else read + hits + written
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=made,
            total_tokens=None if prompt is None or made is None else prompt + made,
            prompt_tokens_details=PromptDetails(
                cached_tokens=hits,
                cache_write_tokens=written or None,
                cache_write_1h_tokens=_count(kept) or None,
            ),
            completion_tokens_details=CompletionDetails(thought) if _count(thought) else None,
            service_tier=self.service_tier,
        )


_decode = msgspec.json.Decoder(Counted, strict=False).decode


def counted(usage: Raw) -> Counted | None:
    """A `usage` value as it came; None where it cannot be read, which breaks no answer."""
    try:
        return None if usage is ABSENT or says_nothing(usage) else _decode(usage)
    except UNREADABLE:
        return None


def _count(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= MOST_TOKENS else None
