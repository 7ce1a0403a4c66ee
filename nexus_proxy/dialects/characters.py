"""How many characters of a prompt are text that no tokenizer folds away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from nexus_proxy.dialects.openai import UNREADABLE

LOOKED_AT = 32_768
"""Characters that are looked at, in evenly spread pieces; the rest is taken to be like them."""
_PIECES = 16
_REPEATED = re.compile(r"(.)\1{4,}|\s{5,}", re.DOTALL)
"""Lines of dashes and indentation: up to a hundred of them make one token."""


def of_texts(values: Iterable[Raw]) -> tuple[int, int]:
    """Characters of all texts in contents of messages, prompts or inputs: in all, and without what
    is repeated. Parts that are no text, numbers and what cannot be read count for nothing."""
    texts = [text for value in values for text in _texts(value)]
    total = sum(map(len, texts))
    looked_at = _spread("\n".join(texts))
    kept = len(_REPEATED.sub("    ", looked_at))
    return total, total * kept // (len(looked_at) or 1)


def _texts(value: Raw) -> Iterator[str]:
    try:
        decoded = msgspec.json.decode(value)
    except UNREADABLE:
        return
    yield from _strings(decoded)


def _strings(decoded: Any) -> Iterator[str]:
    if isinstance(decoded, str):
        yield decoded
    elif isinstance(decoded, list):
        for item in decoded:
            yield from _strings(item)
    elif isinstance(decoded, dict) and "text" in decoded:
        yield from _strings(decoded["text"])


def _spread(text: str) -> str:
    if len(text) <= LOOKED_AT:
        return text
    size, step = LOOKED_AT // _PIECES, len(text) / _PIECES
    return "".join(text[(at := int(step * n)) : at + size] for n in range(_PIECES))
