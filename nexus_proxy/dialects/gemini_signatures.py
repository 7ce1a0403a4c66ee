"""Signatures of thoughts, by the call that they led to.

Gemini 3 refuses a tool loop whose calls come back without them, and most clients keep of a call
only what OpenAI documents. So they are remembered here for a while, as far as there is room. Where
one is gone all the same (the gateway was restarted, another backend made the call), Google takes
the word that it documents for conversations begun elsewhere.
"""

from __future__ import annotations

from typing import Any

from nexus_proxy.dialects.base import Json

UNKNOWN = "skip_thought_signature_validator"
MOST = 2000
LONGEST = 64 * 1024
"""Characters of one signature; they have some hundreds, seldom some thousands."""


class Signatures:
    """The last `MOST` of them."""

    def __init__(self) -> None:
        self._by_call: dict[str, str] = {}

    def note(self, call_id: str, signature: str) -> None:
        """Remember what a call was signed with."""
        if len(signature) > LONGEST:
            return
        self._by_call.pop(call_id, None)
        self._by_call[call_id] = signature
        if len(self._by_call) > MOST:
            del self._by_call[next(iter(self._by_call))]

    def of(self, call: Json) -> str | None:
        """What a call of chat was signed with: as it says itself, or as is remembered."""
        match call:
            case {"extra_content": {"google": {"thought_signature": str(told)}}}:
                return told
        return self._by_call.get(str(call.get("id")))


def signed(signature: Any) -> Json:
    """The field of a call that holds its signature."""
    return {"extra_content": {"google": {"thought_signature": signature}}}
