"""Chunks of a chat stream as other dialects read them: their shape, and tool calls whole again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")

MOST_CHARACTERS = 16 * 1024 * 1024
PART = 1024
"""What a tool call or another part of an answer counts for beside its text, in characters."""


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _CallPiece(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_opaque: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None
    tool_calls: list[_CallPiece] | None = None


class _Logprob(Struct):
    top_logprobs: list[dict[str, Any]] | None = None


class _Logprobs(Struct):
    content: list[_Logprob] | None = None


class _Choice(Struct):
    index: int | None = None
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None


class Details(Struct, frozen=True):
    """Parts of a count, in tokens."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class Counts(Struct, frozen=True):
    """Usage as chat has it, in tokens. The details are parts of the first two."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class _Timings(Struct):
    prompt_n: int
    predicted_n: int | None = None
    cache_n: int = 0


def counts(chunk: dict[str, Any]) -> Counts | None:
    """What a chunk or an answer says of usage, by `usage` or by llama.cpp's `timings`; None where
    that is absent or nonsense, which breaks no answer."""
    told = _read(chunk.get("usage"), Counts)
    if told is not None and told.prompt_tokens is not None:
        return told
    timed = _read(chunk.get("timings"), _Timings)
    if timed is None:
        return told
    cached = Details(cached_tokens=timed.cache_n) if timed.cache_n else None
    return Counts(timed.cache_n + timed.prompt_n, timed.predicted_n, prompt_tokens_details=cached)


def _read(value: Any, shape: type[T]) -> T | None:
    try:
        return None if value is None else msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError:
        return None


def check(chunk: dict[str, Any]) -> None:
    """Raises `ValueError` for a chunk that is not of the shape that the translations read."""
    msgspec.convert(chunk, _Chunk)


class Room:
    """How much of one answer is kept at most: `MOST_CHARACTERS`."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MOST_CHARACTERS

    def take(self, characters: int) -> None:
        """Make room for some more. Raises `ValueError` where there is none."""
        self._left -= characters
        if self._left < 0:
            raise ValueError(f"the answer is longer than {MOST_CHARACTERS} characters")


class Call:
    """One tool call so far. `name` is empty until a piece brings it; `position` counts the calls of
    the answer from 0."""

    __slots__ = ("_taken", "id", "name", "pieces", "position")

    def __init__(self, position: int, id_: str) -> None:
        self.position, self.id, self.name = position, id_, ""
        self.pieces: list[str] = []
        self._taken = 0

    @property
    def arguments(self) -> str:
        """All that has come."""
        return "".join(self.pieces)

    def take(self) -> str:
        """Of the arguments, what was not taken before."""
        fresh = "".join(self.pieces[self._taken :])
        self._taken = len(self.pieces)
        return fresh


class Calls:
    """Tells which call each piece belongs to, whatever the backend makes of `index` and `id`.

    Some servers leave `index` out or send 0 for all, others repeat the id in every piece: a piece
    with a new id begins a new call, and so does one with a name where neither tells; any other
    piece belongs to the last call of its index.
    `invent(position)` gives an id to calls that have none.
    """

    def __init__(self, invent: Callable[[int], str], room: Room) -> None:
        self.all: list[Call] = []
        self._invent, self._room = invent, room
        self._at: dict[Any, Call] = {}

    def add(self, piece: dict[str, Any]) -> Call:
        """Take in one entry of `delta.tool_calls`. Raises `ValueError` where there is no room."""
        index, id_ = piece.get("index"), piece.get("id") or ""
        known = self.all[-1] if index is None and self.all else self._at.get(index)
        function = piece.get("function") or {}
        has_name = bool(function.get("name"))
        is_new = id_ != known.id if known is not None and id_ else index is None and has_name
        if known is None or is_new:
            self._room.take(PART)
            known = Call(len(self.all), id_ or self._invent(len(self.all)))
            self.all.append(known)
        self._at[index] = known
        known.name = known.name or function.get("name") or ""
        if arguments := function.get("arguments"):
            self._room.take(len(arguments))
            known.pieces.append(arguments)
        return known


def as_chunk(answer: dict[str, Any]) -> dict[str, Any]:
    """A whole answer of chat as the one chunk that says the same."""
    choices = []
    for choice in answer.get("choices") or ():
        delta = {**(choice.get("message") or {})}
        calls = delta.get("tool_calls") or ()
        delta["tool_calls"] = [{**call, "index": n} for n, call in enumerate(calls)]
        choices.append({**choice, "delta": delta})
    return {**answer, "choices": choices}
