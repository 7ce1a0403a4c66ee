"""How many tokens a request took, in one shape for all providers.

Providers count in two ways, and only one of them can be added up:

- OpenAI (and Gemini, llama.cpp, vLLM, …) counts cached tokens inside `prompt_tokens` and reasoning
  inside `completion_tokens`: `counted_inside`.
- Anthropic counts cache reads and writes beside `input_tokens`; `dialects.claude_usage` adds them
  up.

A `TokenUsage` is always of the first kind. Gemini's OpenAI-compatible API and xAI leave reasoning
out of `completion_tokens` but not out of `total_tokens`; what the total has more was generated,
and is billed as output.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from nexus_proxy.dialects.openai_stream import MOST_TOKENS


class Provenance(str, Enum):
    """How far a figure can be trusted."""

    MEASURED = "measured"
    """The backend said so, and the price is known."""
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"
    """Not a number; never zero."""
    FREE = "n/a"
    """Runs on one's own machines; nobody sends a bill."""


class TokenUsage(Struct, frozen=True, kw_only=True):
    """Tokens of one request. None: not known. The rest are parts of these two.

    Attributes:
        prompt: all that was read, cached or not.
        completion: all that was generated, shown or not.
        cached: of `prompt`, read from the provider's cache.
        cache_write: of `prompt`, written to it for minutes.
        cache_write_1h: of `prompt`, written to it for an hour (Anthropic).
        reasoning: of `completion`, thought and not said.
        audio: of both, heard or spoken. Audio has prices of its own, which are not kept here.
        source: `measured` if the backend counted, `estimated` if we did.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio: int = 0
    source: Provenance = Provenance.MEASURED


def counted_inside(
    prompt: int | None,
    completion: int | None,
    *,
    total: int | None = None,
    cached: int | None = None,
    cache_write: int | None = None,
    cache_write_1h: int | None = None,
    reasoning: int | None = None,
    audio: int | None = None,
) -> TokenUsage:
    """OpenAI's way of counting, which llama.cpp, vLLM, Gemini and others follow. `cache_write` is
    all that was written, `cache_write_1h` a part of it.

    Numbers that make no sense (negative, absurdly large, a part larger than the whole) are brought
    into bounds, so that no backend can make a request cost less than nothing, or break a sum.
    """
    read, made = _whole(prompt), _whole(completion)
    thought = _part(reasoning)
    if read is not None and made is not None and (beyond := _part(total) - read - made) > 0:
        made += beyond
        thought = max(thought, beyond)
    hits = min(_part(cached), read or 0)
    written = min(_part(cache_write), (read or 0) - hits)
    long = min(_part(cache_write_1h), written)
    return TokenUsage(
        prompt=read,
        completion=made,
        cached=hits,
        cache_write=written - long,
        cache_write_1h=long,
        reasoning=min(thought, made or 0),
        audio=_part(audio),
    )


def _whole(count: int | None) -> int | None:
    return None if count is None or not 0 <= count <= MOST_TOKENS else count


def _part(count: int | None) -> int:
    return count if count is not None and 0 < count <= MOST_TOKENS else 0
