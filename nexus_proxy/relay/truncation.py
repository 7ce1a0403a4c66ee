"""Telling when a backend cut a prompt without a word, by its own count of tokens.

Ollama drops the oldest messages of a prompt that is longer than the context it gave the model, and
answers 200. Nexus holds its count against what was sent: no tokenizer makes fewer tokens of
ordinary text than one for every `MOST_CHARACTERS_PER_TOKEN` characters (English and code have 3 to
5, Chinese 1.5; repeated characters, which do fold, are counted once). Texts of messages count, not
tools, images or thoughts, which a template may leave out. It is a truncation if so many tokens are
missing that `LEAST_MISSING` are, at that most generous reading.

Some servers count only what they had not read before. So it is none where

- the backend tells a context that the prompt fits into at any reading: nothing had to be cut;
- neither the context is known, nor that the model was just loaded: then the last message alone is
  held against the count, as no cache holds that. Cached tokens that are told count as read.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from nexus_proxy.dialects.characters import of_texts
from nexus_proxy.dialects.edit import members
from nexus_proxy.dialects.openai_stream import Usage
from nexus_proxy.relay.call import Call
from nexus_proxy.state import ModelInfo, Truncation

MOST_CHARACTERS_PER_TOKEN = 7
LEAST_CHARACTERS_PER_TOKEN = 2
"""Fewer than this many on average are only in Chinese and its like, whose texts are short."""
LEAST_MISSING = 256


def look(call: Call, usage: Usage) -> None:
    """Note it on the request where its prompt was cut. Costs a comparison where it was not."""
    read = usage.prompt_tokens
    if not read or call.peek.prompt_bytes < (read + LEAST_MISSING) * MOST_CHARACTERS_PER_TOKEN:
        return
    model = call.model
    if model is None or call.peek.route is not None:
        return
    # OpenAI counts cached tokens inside; who counts them beside has more of them than it read.
    cached = usage.cached_tokens or 0
    counted = read + cached if cached > read else read
    sent = _sent(_texts(call), model)
    if sent - counted < LEAST_MISSING:
        return
    call.record.truncated = Truncation(counted=counted, sent=sent)
    call.route_headers.append((b"x-nexus-truncated", b"counted=%d, sent>=%d" % (counted, sent)))


def _sent(texts: Sequence[Raw], model: ModelInfo) -> int:
    """Tokens that must have been read at least; 0 where nothing had to be cut."""
    if model.context_length is None and model.loaded is not False:
        texts = texts[-1:]
    characters, kept = of_texts(texts)
    context = model.context_length
    if context is not None and characters <= context * LEAST_CHARACTERS_PER_TOKEN:
        return 0
    return kept // MOST_CHARACTERS_PER_TOKEN


def _texts(call: Call) -> Sequence[Raw]:
    if call.peek.messages:
        return call.peek.messages
    told = members(call.body)
    return [told[key] for key in ("prompt", "input") if key in told]
