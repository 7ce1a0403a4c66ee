"""Keeping prompts out of what is kept of an error: some backends quote what they refuse."""

from __future__ import annotations

import json
import re

import msgspec

GAP = "[…]"
WORDS = 3
"""So many words in a row that stand in the request too are a quotation."""
SHORTEST = 12
"""Characters of such a row."""
LONG_WORD = 32
"""Characters of one word that is a quotation alone, as encoded data is."""
SEARCHED = 1 << 20
"""Bytes at either end of a request that are searched; failures must not cost seconds."""
_WORD = re.compile(r"\w+")


def without_quotations(sentence: str, request: bytes, *, but: str) -> str:
    """`sentence` without what it quotes of a request's body; `but`, the model's name, may stay."""
    if len(request) > 2 * SEARCHED:
        request = request[:SEARCHED] + request[-SEARCHED:]
    words = [match.span() for match in _WORD.finditer(sentence)]
    quoted: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(words):
        last = words[min(number + WORDS, len(words)) - 1][1]
        is_row = number + WORDS <= len(words) and last - start >= SHORTEST
        if is_row and _stands_in(request, sentence[start:last], but):
            quoted.append((start, last))
        elif _is_telling(sentence[start:end]) and _stands_in(request, sentence[start:end], but):
            quoted.append((start, end))
    return _without(sentence, quoted) if quoted else sentence


def _is_telling(word: str) -> bool:
    """Whether a word can say something alone: encoded data, or a language without spaces."""
    return len(word) >= LONG_WORD or (len(word) >= SHORTEST // 2 and not word.isascii())


def _stands_in(request: bytes, text: str, but: str) -> bool:
    if text in but:
        return False
    forms = {msgspec.json.encode(text)[1:-1], json.dumps(text)[1:-1].encode()}
    return any(form in request for form in forms)


def _without(sentence: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    end = 0
    for start, stop in spans:
        if start > end or not parts:
            parts += [sentence[end:start], GAP]
        end = max(end, stop)
    return "".join([*parts, sentence[end:]])
