"""Thinking that must come back to Anthropic as it was, carried through chat.

A tool loop goes on only with the thinking that led to its calls, signed by Anthropic. Chat has a
place for the text (`reasoning_content`) and none for the signature, so each block adds one line to
`reasoning_opaque`, a string beside it (the name is GitHub Copilot's): JSON with the signature and
how many characters of the text are the block's. Pieces of a string can be joined by anybody, so it
survives streaming. A client that sends both back, as SDKs do that return the message they got, has
its blocks restored; the Responses dialect puts both into `encrypted_content`, which its clients
send back. Where only one comes back, or the text was changed, there is nothing that
Anthropic would take: the thinking is left out.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.openai import UNREADABLE


class _Line(Struct, omit_defaults=True):
    length: int = 0
    signature: str = ""
    redacted: str = ""


_UNSIGNED = re.compile(rb'"signature"\s*:\s*""')
_LEFT_OUT = "messages: thinking of other backends, which Anthropic refuses, was left out"
_decode = msgspec.json.Decoder(_Line).decode_lines


def opaque(block: Json) -> str:
    """The line for one block of thinking; empty for one that nobody signed."""
    match block:
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)} if signature:
            line = _Line(length=len(text), signature=signature)
        case {"type": "redacted_thinking", "data": str(data)} if data:
            line = _Line(redacted=data)
        case _:
            return ""
    return msgspec.json.encode(line).decode() + "\n"


def restored(text: Any, lines: Any) -> list[Json]:
    """The blocks in `reasoning_content` and `reasoning_opaque`; none where they do not fit."""
    if not isinstance(lines, str) or not lines:
        return []
    thought, at, blocks = text if isinstance(text, str) else "", 0, []
    try:
        kept = _decode(lines)
    except UNREADABLE:
        return []
    for line in kept:
        if line.redacted:
            blocks.append({"type": "redacted_thinking", "data": line.redacted})
            continue
        piece = thought[at : at + line.length]
        at += line.length
        blocks.append({"type": "thinking", "thinking": piece, "signature": line.signature})
    return blocks if at == len(thought) else []


def without_unsigned(body: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A request in Anthropic's Messages without the thinking that nobody signed, and a note if
    there was some. Other backends' thinking has no signature, clients send it back as they got it,
    and Anthropic refuses it."""
    if not _UNSIGNED.search(body):
        return body, ()
    try:
        decoded = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE:
        return body, ()
    turns, is_changed = [], False
    for turn in decoded.get("messages") or ():
        content = turn.get("content") if isinstance(turn, dict) else None
        if isinstance(content, list):
            kept = [block for block in content if not _is_unsigned(block)]
            is_changed = is_changed or len(kept) < len(content)
            if not kept and content:
                continue
            turn["content"] = kept
        turns.append(turn)
    if not is_changed:
        return body, ()
    return msgspec.json.encode({**decoded, "messages": turns}), (_LEFT_OUT,)


def _is_unsigned(block: Any) -> bool:
    is_thinking = isinstance(block, dict) and block.get("type") == "thinking"
    return is_thinking and not block.get("signature")
