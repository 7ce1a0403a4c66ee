"""The request that goes to a backend: the caller's bytes under our headers."""

from __future__ import annotations

from nexus_proxy.dialects import direct, openai
from nexus_proxy.dialects.edit import edit
from nexus_proxy.dialects.forms import is_form
from nexus_proxy.dialects.native import Native
from nexus_proxy.dialects.openai import WHOLE, RequestPeek
from nexus_proxy.dialects.tongue import Tongue
from nexus_proxy.relay.call import Call
from nexus_proxy.relay.headers import fixed_lines
from nexus_proxy.relay.line import Line
from nexus_proxy.routing.types import BYTES_PER_TOKEN
from nexus_proxy.state import ModelInfo
from nexus_proxy.telemetry.tracing import new_id

_JSON = "application/json"


class Outbound:
    """How one call is put to one backend.

    Attributes:
        streams: a stream is asked for: as the client did, or because the backend would go on
            generating after the client of a non-streaming request left.
        aggregates: the answer is put together from that stream, for a client that wants a whole.
        strip_usage: the usage chunk was our wish, not the client's.
        native: the request goes out and its answer comes back as they are, in this dialect.
        tongue: the request is put, and its answer understood, by this.
        stream_type: content type of a stream.
    """

    native: Native | None = None
    tongue: Tongue | None = None
    stream_type = b"text/event-stream"
    _path: str | None = None
    _more = b""
    __slots__ = (
        "_asks_usage",
        "_at_most",
        "_call",
        "_line",
        "_served_id",
        "aggregates",
        "streams",
        "strip_usage",
    )

    def __init__(self, call: Call, line: Line, model: ModelInfo, served_id: str) -> None:
        peek, traits = call.peek, line.traits
        self._call, self._line = call, line
        generates = call.endpoint not in WHOLE
        self.streams = generates and (peek.stream or not traits.cancels_non_stream)
        self.aggregates = self.streams and not peek.stream
        wants_usage = self.streams and (traits.stream_usage or self.aggregates)
        self._asks_usage = wants_usage and not peek.wants_usage
        self.strip_usage = self._asks_usage and not self.aggregates and call.asked is None
        self._served_id = served_id
        self._at_most = None if call.asked is None else _longest(call.peek, model)

    def request(self, key: str | None) -> list[bytes]:
        """Head and body, ready to be written. `key` lets us in."""
        call, line = self._call, self._line
        body = self._body()
        accept, content_type = "text/event-stream" if self.streams else _JSON, _JSON
        if call.peek.route is not None:
            accept, content_type = "*/*", self._content_type().decode("latin-1")
        path = self._path or line.path_of(call.endpoint)
        fixed = fixed_lines(path, line.pool.authority, accept, content_type)
        head = b"%bcontent-length: %d\r\nx-request-id: %b\r\n%b%b%b\r\n" % (
            fixed,
            len(body),
            call.record.id.encode(),
            self._passed_on(),
            self._more,
            self._auth(key),
        )
        return [head, body]

    def _content_type(self) -> bytes:
        """Of a request that is passed on as it came."""
        said = self._call.envelope.headers.get(b"content-type", b"")
        return said if is_form(said) else _JSON.encode()

    def _auth(self, key: str | None) -> bytes:
        return self._line.auth(key)

    def _passed_on(self) -> bytes:
        record, lines = self._call.record, self._call.envelope.passed_on
        if record.trace is None:
            return lines
        span_id = record.attempts[-1].span_id = new_id()
        return record.trace.onward(lines, span_id)

    def _body(self) -> bytes:
        """The caller's bytes, with single top-level values replaced where that must be."""
        body, peek = self._call.body, self._call.peek
        if (
            self._served_id == peek.model
            and not self.aggregates
            and not self._asks_usage
            and self._at_most is None
        ):
            return body
        if peek.route is not None:
            form = direct.with_model(body, self._content_type(), self._served_id)
            return edit(body, {"model": self._served_id}) if form is None else form
        changes: dict[str, object] = {}
        if self._at_most is not None:
            changes["max_tokens"] = self._at_most
        if self._served_id != peek.model:
            changes["model"] = self._served_id
        if self.aggregates:
            changes["stream"] = True
        if self._asks_usage:
            changes["stream_options"] = openai.stream_options_with_usage(body)
        return edit(body, changes)


def room_for(peek: RequestPeek, model: ModelInfo) -> int | None:
    """Tokens that fit into a model's context after the prompt; None: not known."""
    if model.context_length is None:
        return None
    return max(1, model.context_length - peek.prompt_bytes // BYTES_PER_TOKEN)


def _longest(peek: RequestPeek, model: ModelInfo) -> int | None:
    """What a request for more than fits after its prompt is cut down to; None: it fits. Clients of
    other dialects must name a number and name a large one, and vLLM refuses what cannot fit."""
    room = room_for(peek, model)
    if peek.max_tokens is None or room is None:
        return None
    return room if peek.max_tokens > room else None
