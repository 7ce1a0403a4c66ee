"""Reading OpenAI answers: what one chunk says, and a whole answer out of chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from nexus_proxy.dialects.openai import ABSENT, UNREADABLE, Endpoint, is_list, says_nothing, word
from nexus_proxy.dialects.sse import DONE, payload

T = TypeVar("T")


MOST_TOKENS = 10**12
"""No model reads or writes a thousandth of it in one request: more is no count."""
_Part = Annotated[int, Meta(le=MOST_TOKENS)]
_Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
"""What is beyond is no count of tokens: a usage that holds one says nothing."""


class PromptDetails(Struct, frozen=True):
    """Parts of a prompt. Cache writes are told by Anthropic alone; those for an hour are a part of
    all."""

    cached_tokens: _Part | None = None
    audio_tokens: _Part | None = None
    cache_write_tokens: _Part | None = None
    cache_write_1h_tokens: _Part | None = None


class CompletionDetails(Struct, frozen=True):
    """Parts of a completion."""

    reasoning_tokens: _Part | None = None
    audio_tokens: _Part | None = None


class Usage(Struct, frozen=True):
    """Tokens as the backend counted them, OpenAI's way: details are parts of the first two.
    `service_tier` is the one that it says it served them in. None: it did not say."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Part | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    service_tier: str | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Of the prompt, read from the backend's cache."""
        details = self.prompt_tokens_details
        return None if details is None else details.cached_tokens

    @property
    def reasoning_tokens(self) -> int | None:
        """Of the completion, thought and not said."""
        details = self.completion_tokens_details
        return None if details is None else details.reasoning_tokens

    @property
    def audio_tokens(self) -> int:
        """Heard and spoken."""
        heard, spoken = self.prompt_tokens_details, self.completion_tokens_details
        return ((heard and heard.audio_tokens) or 0) + ((spoken and spoken.audio_tokens) or 0)


class ChunkFacts(Struct, frozen=True, kw_only=True):
    """What one event of a stream says.

    Attributes:
        has_token: it carries text, reasoning or a piece of a tool call.
        finish_reason: the last one in it, if any.
        finished: indexes of the choices that end with it.
        usage: token counts, if any (llama.cpp: from `timings` where `usage` is absent).
        is_usage_only: `choices` is empty and usage is there: the extra chunk that
            `stream_options.include_usage` asks for.
        done: it is `[DONE]`.
        error: the bytes of its top-level `error` value, if any.
        beat: it proves that the backend is at work, though it holds no token.
    """

    has_token: bool = False
    finish_reason: str | None = None
    finished: tuple[int, ...] = ()
    usage: Usage | None = None
    is_usage_only: bool = False
    done: bool = False
    error: bytes | None = None
    beat: bool = False


class _Delta(Struct):
    content: Raw = ABSENT
    reasoning_content: Raw = ABSENT
    reasoning: Raw = ABSENT
    refusal: Raw = ABSENT
    tool_calls: Raw = ABSENT
    function_call: Raw = ABSENT
    audio: Raw = ABSENT


class _Choice(Struct):
    index: int | None = None
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Timings(Struct):
    cache_n: _Count = 0
    prompt_n: _Count | None = None
    predicted_n: _Count | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = ABSENT
    timings: Raw = ABSENT
    error: Raw = ABSENT
    service_tier: Raw = ABSENT


_UNCOUNTED = Usage()
_NOTHING = ChunkFacts()
_DONE = ChunkFacts(done=True)
TOKEN = ChunkFacts(has_token=True)
"""What nearly every event says: a token, and nothing else."""
_decode_chunk = msgspec.json.Decoder(_Chunk, strict=False).decode
_decode_usage = msgspec.json.Decoder(Usage, strict=False).decode
_decode_timings = msgspec.json.Decoder(_Timings, strict=False).decode


def read_chunk(event: bytes) -> ChunkFacts:
    """What one whole event says. Comments and events that are no chunk say nothing."""
    data = payload(event)
    if data is None:
        return _NOTHING
    if data == DONE:
        return _DONE
    try:
        chunk = _decode_chunk(data)
    except UNREADABLE:
        return _NOTHING
    choices = chunk.choices or ()
    if len(choices) == 1 and choices[0].finish_reason is None and _is_plain(chunk):
        return TOKEN if _has_token(choices[0]) else _NOTHING
    finish_reason = None
    for choice in choices:
        finish_reason = choice.finish_reason or finish_reason
    return ChunkFacts(
        has_token=any(map(_has_token, choices)),
        finish_reason=finish_reason,
        finished=tuple(c.index or 0 for c in choices if c.finish_reason),
        usage=_usage(chunk.usage, chunk.service_tier, chunk.timings),
        is_usage_only=chunk.choices == [] and not says_nothing(chunk.usage),
        error=None if says_nothing(chunk.error) else bytes(chunk.error),
    )


def _usage(usage: Raw, service_tier: Raw, timings: Raw = ABSENT) -> Usage | None:
    """Token counts where they can be read; a server may well mean something else by these keys."""
    counted = _read(usage, _decode_usage)
    if counted is not None and counted != _UNCOUNTED:
        if (tier := word(service_tier)) is not None:
            return replace(counted, service_tier=tier)
        return counted
    told = _read(timings, _decode_timings)
    if told is None or told.prompt_n is None:
        return None
    cached = PromptDetails(told.cache_n) if told.cache_n else None
    return Usage(told.cache_n + told.prompt_n, told.predicted_n, prompt_tokens_details=cached)


def _read(value: Raw, decode: Callable[[Raw], T]) -> T | None:
    try:
        return None if says_nothing(value) else decode(value)
    except UNREADABLE:
        return None


def _is_plain(chunk: _Chunk) -> bool:
    """Whether it carries choices and nothing else that counts, as nearly all do."""
    return chunk.timings is ABSENT and chunk.error is ABSENT and says_nothing(chunk.usage)


def _has_token(choice: _Choice) -> bool:
    if choice.text:
        return True
    delta = choice.delta
    if delta is None:
        return False
    if not says_nothing(delta.content):
        return True
    rest = (delta.reasoning_content, delta.reasoning, delta.tool_calls, delta.refusal)
    return not all(map(says_nothing, (*rest, delta.function_call, delta.audio)))


# -- whole answers -----------------------------------------------------------------------------


class AnswerFacts(Struct, frozen=True, kw_only=True):
    """What a non-streaming answer says. `is_answer`: it has what its endpoint promises."""

    is_answer: bool
    usage: Usage | None = None
    finish_reason: str | None = None


class _Answer(Struct):
    choices: list[_Choice] | None = None
    data: Raw = ABSENT
    usage: Raw = ABSENT
    service_tier: Raw = ABSENT


_decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode


def read_answer(endpoint: Endpoint, body: bytes) -> AnswerFacts:
    """Check that a body is a whole answer of its endpoint, and read its usage."""
    try:
        answer = _decode_answer(body)
    except UNREADABLE:
        return AnswerFacts(is_answer=False)
    usage = _usage(answer.usage, answer.service_tier)
    if endpoint is Endpoint.EMBEDDINGS:
        return AnswerFacts(is_answer=is_list(answer.data), usage=usage)
    reasons = [choice.finish_reason for choice in answer.choices or () if choice.finish_reason]
    return AnswerFacts(
        is_answer=bool(answer.choices),
        usage=usage,
        finish_reason=reasons[-1] if reasons else None,
    )


class _FunctionPiece(Struct):
    name: str | None = None
    arguments: str | None = None


class _CallPiece(Struct):
    index: int | None = None
    function: _FunctionPiece | None = None


class _DeltaPiece(Struct):
    role: str | None = None
    tool_calls: list[_CallPiece] | None = None


class _ChoicePiece(Struct):
    index: int | None = None
    delta: _DeltaPiece | None = None
    text: str | None = None
    logprobs: dict[str, Any] | None = None


class _Piece(Struct):
    choices: list[_ChoicePiece] | None = None


_check_piece = msgspec.json.Decoder(_Piece).decode


def decode_chunk(event: bytes) -> dict[str, Any] | None:
    """One whole event as a plain object; None for `[DONE]`, comments and `null` (with which
    llama.cpp begins the answer to a list of prompts).

    Raises `ValueError` or `RecursionError` for an event that is no chunk.
    """
    data = payload(event)
    if data in (None, DONE, b"null"):
        return None
    _check_piece(data)
    chunk: dict[str, Any] = msgspec.json.decode(data)
    return chunk


class Aggregator:
    """Builds the non-streaming answer out of the chunks of a stream.

    Used where a backend goes on generating after the client of a non-streaming request left
    (llama.cpp). Text is joined, tool calls are joined by index, log probabilities are
    concatenated; every other key is taken over, the last value winning.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._chat = endpoint is Endpoint.CHAT
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, event: bytes) -> None:
        """Take in one whole event. Raises as `decode_chunk` does."""
        chunk = decode_chunk(event)
        if chunk is None:
            return
        for choice in chunk.pop("choices", None) or ():
            self._add_choice(choice)
        self._top.update(chunk)

    def answer(self) -> bytes:
        """The whole answer as JSON."""
        top = dict(self._top)
        top["object"] = "chat.completion" if self._chat else "text_completion"
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            message = choice.get("message")
            if message is not None and "tool_calls" in message:
                calls = message["tool_calls"]
                message["tool_calls"] = [calls[index] for index in sorted(calls)]
        return msgspec.json.encode({"choices": choices, **top})

    def _add_choice(self, piece: dict[str, Any]) -> None:
        index = int(piece.get("index") or 0)
        choice = self._choices.setdefault(index, {"index": index})
        if self._chat:
            message = choice.setdefault("message", {"role": "assistant", "content": None})
            _merge_delta(message, piece.pop("delta", None) or {})
        elif "text" in piece:
            choice["text"] = choice.get("text", "") + (piece.pop("text") or "")
        _merge_logprobs(choice, piece)
        for key, value in piece.items():
            if value is not None or key not in choice:
                choice[key] = value


def _merge_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for call in delta.pop("tool_calls", None) or ():
        _merge_call(message.setdefault("tool_calls", {}), call)
    for key, value in delta.items():
        if key == "role":
            message["role"] = value or message["role"]
        elif isinstance(value, str) and isinstance(message.get(key), str):
            message[key] += value
        elif value is not None or key not in message:
            message[key] = value


def _merge_call(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    index = piece.pop("index", None)
    if index is None:
        index = len(calls) if piece.get("id") or not calls else max(calls)
    call = calls.setdefault(int(index), {"type": "function", "function": {"arguments": ""}})
    function = piece.pop("function", None) or {}
    call.update({key: value for key, value in piece.items() if value is not None})
    if function.get("name"):
        call["function"]["name"] = function["name"]
    call["function"]["arguments"] += function.get("arguments") or ""


def _merge_logprobs(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    if "logprobs" not in piece:
        return
    told = piece.pop("logprobs")
    merged = choice.setdefault("logprobs", None) or {}
    for key, value in (told or {}).items():
        if isinstance(value, list) and isinstance(merged.get(key), list):
            merged[key] = merged[key] + value
        elif value is not None or key not in merged:
            merged[key] = value
    choice["logprobs"] = merged or None
