"""Answers in the dialect that their caller speaks, passed on as they came: only looked at.

What is read of them is what the relay must know of any answer: tokens, why it ended, usage in
chat's way of counting, errors, and that it is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.claude_stream import STATUSES
from nexus_proxy.dialects.claude_usage import Counted, counted
from nexus_proxy.dialects.openai import ABSENT, UNREADABLE, Endpoint, is_list, says_nothing
from nexus_proxy.dialects.openai_stream import (
    TOKEN,
    AnswerFacts,
    ChunkFacts,
    CompletionDetails,
    PromptDetails,
    Usage,
)
from nexus_proxy.dialects.sse import payload

Reader = Callable[[bytes], ChunkFacts]
_NOTHING, _BEAT = ChunkFacts(), ChunkFacts(beat=True)


class Native(Protocol):
    """One dialect, as its answers are read. Keeps no state."""

    def reader(self) -> Reader:
        """What reads the events of one stream."""

    def read_whole(self, body: bytes) -> AnswerFacts:
        """What an answer that is no stream says."""


# -- Anthropic's Messages ------------------------------------------------------------------------


class _Stop(Struct):
    stop_reason: str | None = None


class _Begun(Struct):
    usage: Raw = ABSENT


class _Error(Struct):
    type: str = "api_error"
    message: str = "no reason given"
    code: str | int | None = None


class _Event(Struct):
    type: str = ""
    message: _Begun | str | None = None
    delta: _Stop | str | None = None
    usage: Raw = ABSENT
    error: _Error | None = None


class _Message(Struct):
    type: str = ""
    content: Raw = ABSENT
    stop_reason: str | None = None
    usage: Raw = ABSENT


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_message = msgspec.json.Decoder(_Message).decode


class NativeMessages:
    """Anthropic's `/v1/messages`."""

    def reader(self) -> Reader:
        """See `Native.reader`. A block that begins is progress, though it holds no token: thinking
        that is not shown stays silent for minutes but for pings."""
        known = Counted()

        def read(event: bytes) -> ChunkFacts:
            data = payload(event)
            if data is None:
                return _NOTHING
            try:
                told = _decode_event(data)
            except UNREADABLE:
                return _NOTHING
            match told.type:
                case "content_block_delta":
                    return TOKEN
                case "content_block_start" | "ping":
                    return _BEAT
                case "message_start" if isinstance(told.message, _Begun):
                    known.update(counted(told.message.usage) or Counted())
                case "message_delta":
                    known.update(counted(told.usage) or Counted())
                    stop = told.delta.stop_reason if isinstance(told.delta, _Stop) else None
                    return ChunkFacts(finish_reason=stop, usage=known.usage())
                case "message_stop":
                    return ChunkFacts(done=True)
                case "error":
                    return ChunkFacts(error=_error(told.error or _Error()))
            return _NOTHING

        return read

    def read_whole(self, body: bytes) -> AnswerFacts:
        """See `Native.read_whole`."""
        try:
            message = _decode_message(body)
        except UNREADABLE:
            return AnswerFacts(is_answer=False)
        usage = counted(message.usage)
        return AnswerFacts(
            is_answer=message.type == "message" and is_list(message.content),
            usage=None if usage is None else usage.usage(),
            finish_reason=message.stop_reason,
        )


def _error(error: _Error) -> bytes:
    return msgspec.json.encode(
        {**msgspec.to_builtins(error), "code": STATUSES.get(error.type, 500)}
    )


# -- OpenAI's Responses --------------------------------------------------------------------------


class _InputDetails(Struct):
    cached_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _Used(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Why(Struct):
    reason: str | None = None


class _Response(Struct):
    object: str = ""
    status: str | None = None
    output: Raw = ABSENT
    usage: Raw = ABSENT
    error: _Error | None = None
    service_tier: str | None = None
    incomplete_details: _Why | None = None


class _ResponseEvent(Struct):
    type: str = ""
    response: _Response | None = None
    error: _Error | None = None
    message: str = "no reason given"
    code: str | int | None = None


_decode_response_event = msgspec.json.Decoder(_ResponseEvent).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_decode_used = msgspec.json.Decoder(_Used, strict=False).decode
_LIMITED = ("rate_limit_exceeded", "insufficient_quota")


class NativeResponses:
    """OpenAI's `/v1/responses`."""

    def reader(self) -> Reader:
        """See `Native.reader`."""
        return _read_response_event

    def read_whole(self, body: bytes) -> AnswerFacts:
        """See `Native.read_whole`."""
        try:
            response = _decode_response(body)
        except UNREADABLE:
            return AnswerFacts(is_answer=False)
        return AnswerFacts(
            is_answer=response.object == "response" and is_list(response.output),
            usage=_used(response),
            finish_reason=_ended(response),
        )


def _read_response_event(event: bytes) -> ChunkFacts:
    data = payload(event)
    if data is None:
        return _NOTHING
    try:
        told = _decode_response_event(data)
    except UNREADABLE:
        return _NOTHING
    if told.type.endswith(".delta"):
        return TOKEN
    response = told.response or _Response()
    match told.type:
        case "response.completed" | "response.incomplete":
            return ChunkFacts(done=True, finish_reason=_ended(response), usage=_used(response))
        case "response.failed":
            return ChunkFacts(error=_failed(response.error or _Error()), usage=_used(response))
        case "error":
            return ChunkFacts(error=_failed(told.error or _Error("", told.message, told.code)))
        case "keepalive" | "response.in_progress" | "response.output_item.added":
            return _BEAT
    return _NOTHING


def _ended(response: _Response) -> str | None:
    why = response.incomplete_details
    return why.reason if why is not None and why.reason else response.status


def _failed(error: _Error) -> bytes:
    status = 429 if error.code in _LIMITED else 500
    kind = error.type or str(error.code or "server_error")
    return msgspec.json.encode({"message": error.message, "type": kind, "code": status})


def _used(response: _Response) -> Usage | None:
    try:
        told = None if says_nothing(response.usage) else _decode_used(response.usage)
    except UNREADABLE:
        return None
    if told is None or told.input_tokens is None:
        return None
    read, made = told.input_tokens_details, told.output_tokens_details
    return Usage(
        told.input_tokens,
        told.output_tokens,
        told.total_tokens,
        None if read is None else PromptDetails(read.cached_tokens),
        None if made is None else CompletionDetails(made.reasoning_tokens),
        response.service_tier,
    )


class _Tool(Struct):
    type: str | None = None


class _Item(Struct):
    type: str | None = None
    role: str | None = None


class _Request(Struct):
    input: str | list[_Item] = ""
    tools: list[_Tool] | None = None
    store: bool | None = None


_decode_request = msgspec.json.Decoder(_Request).decode
_PLAIN_ITEMS = (None, "message", "function_call", "function_call_output")


def is_plain(body: bytes) -> bool:
    """Whether a request in Responses holds nothing that only OpenAI itself understands, and does
    without what it offers by default: to refer to the answer later."""
    try:
        request = _decode_request(body)
    except UNREADABLE:
        return False
    items = request.input if isinstance(request.input, list) else []
    return (
        request.store is False
        and all(tool.type == "function" for tool in request.tools or ())
        and all(
            item.type in _PLAIN_ITEMS and item.role in (None, "user", "assistant") for item in items
        )
    )


NATIVE: dict[Endpoint, Native] = {
    Endpoint.MESSAGES: NativeMessages(),
    Endpoint.RESPONSES: NativeResponses(),
}
"""The dialects that some backends speak as they are, by their endpoint."""
