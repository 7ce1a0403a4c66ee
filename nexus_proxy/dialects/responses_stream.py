"""Answers of chat as answers of the Responses API, whole and streamed.

Items come in the order in which the backend began them, each with an `output_index` of its own:
reasoning, messages, calls. Reasoning is in the clear, as `reasoning_text`; where the client asked
for a summary, it stands in its place, since many clients show nothing else. `encrypted_content`
holds it once more, with the signatures that Anthropic wants back. Text of another kind
ends the item before; calls stay open to the end, since pieces of parallel calls may come in turn.
The input of a custom tool comes whole, once its arguments are complete.

Of `finish_reason`, `length` and `content_filter` make the response incomplete. Choices beyond the
first do not exist in this API. A stream holds its own answer once, which the last event repeats;
one longer than 16 million characters is broken off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.chat_pieces import (
    PART,
    Call,
    Calls,
    Counts,
    Details,
    Room,
    as_chunk,
    check,
    counts,
)
from nexus_proxy.dialects.responses_input import Reasoning, sealed
from nexus_proxy.dialects.responses_request import ENCRYPTED, Translation
from nexus_proxy.dialects.responses_tools import unwrapped
from nexus_proxy.dialects.sse import PING
from nexus_proxy.errors import ContextOverflowError, NexusError, RateLimitedError

KEEP_ALIVE = PING
"""What a waiting client may be sent between two events."""

_NO_DETAILS = Details()
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": None,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
"""What an answer repeats of its request, with what stands for what was not said."""


class Answer:
    """The response object around the items.

    `response_id` begins with `resp_`; `created` is seconds since the epoch; `model` is the name
    that the client asked for.
    """

    def __init__(
        self, translation: Translation, *, response_id: str, created: int, model: str
    ) -> None:
        asked = translation.asked
        self.tools = translation.tools
        summary = (asked.get("reasoning") or {}).get("summary")
        self.thoughts = "reasoning_text" if summary is None else "reasoning_summary_text"
        self.seals = ENCRYPTED in (asked.get("include") or ())
        self._unique = response_id.removeprefix("resp_")
        told = {key: asked.get(key) for key in _ECHOED}
        self._base: Json = {
            "id": response_id,
            "object": "response",
            "created_at": created,
            "model": model,
            **{key: _ECHOED[key] if value is None else value for key, value in told.items()},
            "background": False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None, **(asked.get("reasoning") or {})},
            "store": False,
            "text": {"format": {"type": "text"}, **(asked.get("text") or {})},
            "tools": [_echo_tool(tool) for tool in asked.get("tools") or ()],
        }

    def item_id(self, kind: str, position: int) -> str:
        """`msg_…`, `rs_…`, `fc_…` or `ctc_…`, the same each time."""
        return f"{kind}_{self._unique}_{position}"

    def response(
        self, status: str, output: list[Json], usage: Counts | None = None, **more: Any
    ) -> Json:
        """The object, with `more` over what stands for nothing."""
        return {
            **self._base,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": output,
            "usage": None if usage is None else _usage(usage),
            **more,
        }

    def ended(self, reason: str | None, output: list[Json], usage: Counts | None) -> Json:
        """The object of a whole answer, complete or not."""
        if reason in _INCOMPLETE:
            why = {"reason": _INCOMPLETE[reason]}
            return self.response("incomplete", output, usage, incomplete_details=why)
        return self.response("completed", output, usage)

    def call(self, call: Call, *, arguments: str, status: str | None) -> Json:
        """The item of a call. `status` None: it has none (custom tools)."""
        own = self.tools.own(call.name)
        kind = "ctc" if own.is_custom else "fc"
        item: Json = {"id": self.item_id(kind, call.position), "call_id": call.id, "name": own.name}
        if own.namespace is not None:
            item["namespace"] = own.namespace
        if own.is_custom:
            return {**item, "type": "custom_tool_call", "input": arguments}
        return {**item, "type": "function_call", "arguments": arguments, "status": status}


def from_chat(answer: Json, translation: Translation, **named: Any) -> Json:
    """A whole answer of chat as a response. See `FromChatStream` for the arguments."""
    stream = FromChatStream(translation, **named)
    stream.feed(as_chunk(answer))
    return stream.ending()


class _Deltas:
    """The events that bring one item piece by piece: they differ in little, and there are many."""

    __slots__ = ("_after", "_before")

    def __init__(self, event: str, place: Json) -> None:
        self._before = f'event: {event}\ndata: {{"type":"{event}","sequence_number":'.encode()
        self._after = b"," + _encode(place)[1:-1] + b',"delta":'

    def event(self, sequence: int, text: str, more: bytes = b"") -> bytes:
        """One of them. `more`: members of the object, each with a comma before it."""
        return b"%b%d%b%b%b}\n\n" % (self._before, sequence, self._after, _encode(text), more)


class _Open:
    """An item that is being streamed, with the one part that it has."""

    __slots__ = (
        *("_sums_up", "annotations", "deltas", "id", "index", "kind", "logprobs"),
        *("opaque", "part_name", "pieces", "place", "seals"),
    )

    def __init__(self, kind: str, id_: str, index: int, *, seals: bool) -> None:
        self.kind, self.id, self.index, self.seals = kind, id_, index, seals
        self._sums_up = kind == "reasoning_summary_text"
        self.part_name = "reasoning_summary_part" if self._sums_up else "content_part"
        place = "summary_index" if self._sums_up else "content_index"
        self.place: Json = {"item_id": id_, "output_index": index, place: 0}
        self.pieces: list[str] = []
        self.logprobs: list[Json] = []
        self.annotations: list[Json] = []
        self.opaque = ""
        self.deltas = _Deltas(f"response.{kind}.delta", self.place)

    def part(self, text: str) -> Json:
        if self.kind == "output_text":
            told = {"annotations": self.annotations, "logprobs": self.logprobs}
            return {"type": "output_text", "text": text, **told}
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "summary_text" if self._sums_up else self.kind, "text": text}

    def seal(self, text: str) -> str:
        return sealed(Reasoning(text, self.opaque))

    def item(self, content: list[Json], status: str) -> Json:
        if self.kind.startswith("reasoning"):
            told = {"summary": content} if self._sums_up else {"summary": [], "content": content}
            seal = self.seal(content[0]["text"]) if self.seals and content else None
            return {"id": self.id, "type": "reasoning", **told, "encrypted_content": seal}
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }


class FromChatStream:
    """Chunks of a chat stream in, events of the Responses API out.

    `feed` takes each chunk, `finish` ends a whole stream, `error` a broken one. A stream that gave
    no finish reason is not whole: that is for the caller to see. `keep` is called with the items of
    a whole answer; see `Answer` for the other arguments.
    """

    def __init__(
        self,
        translation: Translation,
        *,
        response_id: str,
        created: int,
        model: str,
        keep: Callable[[list[Json]], None] | None = None,
    ) -> None:
        self._keep = keep
        self._answer = Answer(translation, response_id=response_id, created=created, model=model)
        self._events: list[bytes] = []
        self._sequence = 0
        self._started = False
        self._output: list[Json] = []
        self._open: _Open | None = None
        self._room = Room()
        self._calls = Calls(lambda position: self._answer.item_id("call", position), self._room)
        self._places: dict[int, int] = {}
        self._deltas: dict[int, _Deltas] = {}
        self._seals: dict[int, str] = {}
        self._reason: str | None = None
        self._usage: Counts | None = None

    def feed(self, chunk: Json) -> list[bytes]:
        """The events that follow from one chunk. Raises `ValueError` for what is no chunk, and for
        the one that makes the answer too long."""
        check(chunk)
        self._start()
        self._usage = counts(chunk) or self._usage
        for choice in chunk.get("choices") or ():
            if not choice.get("index"):
                self._add(choice)
        return self._taken()

    def finish(self) -> list[bytes]:
        """The last events: what is open is closed, and the response is complete or incomplete."""
        self._start()
        response = self.ending()
        self._emit(f"response.{response['status']}", {"response": response})
        return self._taken()

    def ending(self) -> Json:
        """The response at its end."""
        status = "incomplete" if self._reason in _INCOMPLETE else "completed"
        self._close(status)
        for call in self._calls.all:
            self._end_call(call, status)
        if self._keep is not None:
            signed = {n: {"encrypted_content": seal} for n, seal in self._seals.items()}
            self._keep([{**item, **signed.get(n, {})} for n, item in enumerate(self._output)])
        return self._answer.ended(self._reason, self._output, self._usage)

    def error(self, error: NexusError) -> list[bytes]:
        """The event that ends a broken stream.

        Its `error` beside the response makes the SDKs raise; without it they yield the event like
        any other (measured with openai-python, openai-node and the Vercel AI SDK).
        """
        self._start()
        told = {"code": _code(error), "message": error.message}
        response = self._answer.response("failed", self._output, self._usage, error=told)
        beside = {"message": error.message, "type": error.type, "code": error.code, "param": None}
        self._emit("response.failed", {"response": response, "error": beside})
        return self._taken()

    # -- pieces --------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for event in ("response.created", "response.in_progress"):
                self._emit(event, {"response": self._answer.response("in_progress", [])})

    def _add(self, choice: Json) -> None:
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta") or {}
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self._say(self._answer.thoughts, thought)
        if opaque := delta.get("reasoning_opaque"):
            self._sign(opaque)
        if text := delta.get("content"):
            told = choice.get("logprobs")
            self._say("output_text", text, _logprobs(told) if told else [])
        if refusal := delta.get("refusal"):
            self._say("refusal", refusal)
        for note in delta.get("annotations") or ():
            self._annotate(note)
        for piece in delta.get("tool_calls") or ():
            self._close("completed")
            self._continue_call(self._calls.add(piece))

    def _say(self, kind: str, text: str, logprobs: Sequence[Json] = ()) -> None:
        opened = self._open
        if opened is None or opened.kind != kind:
            opened = self._begin(kind)
        self._room.take(len(text))
        opened.pieces.append(text)
        opened.logprobs += logprobs
        more = b',"logprobs":' + _encode(logprobs) if kind == "output_text" else b""
        self._events.append(opened.deltas.event(self._sequence, text, more))
        self._sequence += 1

    def _sign(self, opaque: str) -> None:
        """What the provider wants back with its thoughts, shown or not."""
        opened = self._open
        if opened is None or opened.kind != self._answer.thoughts:
            opened = self._begin(self._answer.thoughts)
        self._room.take(len(opaque))
        opened.opaque += opaque

    def _begin(self, kind: str) -> _Open:
        self._close("completed")
        self._room.take(PART)
        index = len(self._output)
        is_thought = kind == self._answer.thoughts
        id_ = self._answer.item_id("rs" if is_thought else "msg", index)
        opened = self._open = _Open(kind, id_, index, seals=is_thought and self._answer.seals)
        item = opened.item([], "in_progress")
        self._output.append(item)
        self._emit("response.output_item.added", {"output_index": index, "item": item})
        part = {**opened.place, "part": opened.part("")}
        self._emit(f"response.{opened.part_name}.added", part)
        return opened

    def _close(self, status: str) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        text, place = "".join(opened.pieces), opened.place
        part = opened.part(text)
        done: Json = {key: part[key] for key in ("text", "refusal", "logprobs") if key in part}
        self._emit(f"response.{opened.kind}.done", {**place, **done})
        self._emit(f"response.{opened.part_name}.done", {**place, "part": part})
        item = self._output[opened.index] = opened.item([part], status)
        if opened.opaque:
            self._seals[opened.index] = opened.seal(text)
        self._emit("response.output_item.done", {"output_index": opened.index, "item": item})

    def _annotate(self, note: Json) -> None:
        """Chat nests what this API has flat."""
        if self._open is None or self._open.kind != "output_text":
            return
        kind = note.get("type")
        flat = {"type": kind, **(note.get(str(kind)) or {})}
        place = {**self._open.place, "annotation_index": len(self._open.annotations)}
        self._open.annotations.append(flat)
        self._emit("response.output_text.annotation.added", {**place, "annotation": flat})

    # -- calls ---------------------------------------------------------------------------------

    def _continue_call(self, call: Call) -> None:
        if not call.name:
            return
        place = self._places.get(call.position)
        if place is None:
            place = self._places[call.position] = len(self._output)
            item = self._answer.call(call, arguments="", status="in_progress")
            self._output.append(item)
            self._emit("response.output_item.added", {"output_index": place, "item": item})
            if item["type"] == "function_call":
                at = {"item_id": item["id"], "output_index": place}
                event = "response.function_call_arguments.delta"
                self._deltas[call.position] = _Deltas(event, at)
        deltas = self._deltas.get(call.position)
        if deltas is not None and (fresh := call.take()):
            self._events.append(deltas.event(self._sequence, fresh))
            self._sequence += 1

    def _end_call(self, call: Call, status: str) -> None:
        call.name = call.name or "unnamed"
        self._continue_call(call)
        place = self._places[call.position]
        custom = self._output[place]["type"] == "custom_tool_call"
        arguments = unwrapped(call.arguments) if custom else call.arguments or "{}"
        item = self._answer.call(call, arguments=arguments, status=status)
        at = {"item_id": item["id"], "output_index": place}
        if custom:
            self._emit("response.custom_tool_call_input.delta", {**at, "delta": arguments})
            self._emit("response.custom_tool_call_input.done", {**at, "input": arguments})
        else:
            told = {"name": item["name"], "arguments": arguments}
            self._emit("response.function_call_arguments.done", {**at, **told})
        self._output[place] = item
        self._emit("response.output_item.done", {"output_index": place, "item": item})

    # -- events --------------------------------------------------------------------------------

    def _emit(self, kind: str, fields: Json) -> None:
        event = _encode({"type": kind, "sequence_number": self._sequence, **fields})
        self._sequence += 1
        self._events.append(b"event: " + kind.encode() + b"\ndata: " + event + b"\n\n")

    def _taken(self) -> list[bytes]:
        events, self._events = self._events, []
        return events


_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


def _code(error: NexusError) -> str:
    """Codes that clients tell apart; all others are the server's fault."""
    if isinstance(error, ContextOverflowError):
        return "context_length_exceeded"
    return "rate_limit_exceeded" if isinstance(error, RateLimitedError) else "server_error"


def _usage(usage: Counts) -> Json:
    read, written = usage.prompt_tokens or 0, usage.completion_tokens or 0
    prompt = usage.prompt_tokens_details or _NO_DETAILS
    completion = usage.completion_tokens_details or _NO_DETAILS
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": prompt.cached_tokens or 0,
            "cache_write_tokens": prompt.cache_write_tokens or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": completion.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens or read + written,
    }


def _logprobs(told: Json) -> list[Json]:
    return [
        {
            "token": entry.get("token"),
            "bytes": entry.get("bytes") or [],
            "logprob": entry.get("logprob"),
            "top_logprobs": [
                {**top, "bytes": top.get("bytes") or []} for top in entry.get("top_logprobs") or ()
            ],
        }
        for entry in told.get("content") or ()
    ]


def _echo_tool(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") == "function":
        return {"description": None, "parameters": None, "strict": None, **tool}
    return tool
