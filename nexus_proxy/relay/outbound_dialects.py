"""Requests that go to a backend in another dialect than chat: in the caller's own, as it came, or
in the backend's, translated. Chat for a backend that speaks it never comes here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from nexus_proxy.dialects.claude import VERSION
from nexus_proxy.dialects.claude_thinking import without_unsigned
from nexus_proxy.dialects.edit import edit
from nexus_proxy.dialects.native import NATIVE, Native
from nexus_proxy.dialects.ollama_tongue import MEDIA_TYPE
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.responses_input import without_sealed
from nexus_proxy.dialects.tongue import Tongue
from nexus_proxy.relay.call import Call
from nexus_proxy.relay.headers import anthropics
from nexus_proxy.relay.line import Line
from nexus_proxy.relay.outbound import Outbound, room_for
from nexus_proxy.relay.sizing import context_for
from nexus_proxy.state import ModelInfo

log = logging.getLogger(__name__)

_MEND: dict[Endpoint, Callable[[bytes], tuple[bytes, Sequence[str]]]] = {
    Endpoint.MESSAGES: without_unsigned,
    Endpoint.RESPONSES: without_sealed,
}
"""What of other backends' earlier answers a provider would refuse is left out, with a note."""


def put(call: Call, line: Line, model: ModelInfo, served_id: str) -> Outbound:
    """How a call is put to a backend, if it is in another dialect than chat, or the backend speaks
    another one. Raises `InvalidRequestError` where it cannot be."""
    endpoint = call.envelope.endpoint
    if call.asked is not None:
        path = line.native_path(endpoint, call.original)
        if path is not None:
            return Untranslated(call, line, NATIVE[endpoint], path, served_id)
    if call.untranslatable is not None:
        raise call.untranslatable
    if line.traits.sizes_context and call.endpoint is Endpoint.CHAT:
        size = context_for(call.peek, model, line.backend.sized.get(model.id))
        tongue = None if size is None else line.adapter.in_context(size)
        if size is not None and tongue is not None:
            _keep(line, model, size)
            sized = msgspec.structs.replace(model, context_length=size)
            return Lines(call, line, tongue, sized, served_id)
    if line.tongue is not None and call.endpoint is Endpoint.CHAT:
        return Spoken(call, line, line.tongue, model, served_id)
    call.record.notes = call.notes
    return Outbound(call, line, model, served_id)


def _keep(line: Line, model: ModelInfo, size: int) -> None:
    backend = line.backend
    if backend.sized.get(model.id) != size:
        backend.sized[model.id] = size
        log.info(
            "%s is asked to load %s with a context of %d tokens: a prompt may not fit otherwise",
            *(backend.name, model.id, size),
        )


class Untranslated(Outbound):
    """What the client sent, but for the model's name."""

    __slots__ = ("_more", "_path", "native")

    def __init__(self, call: Call, line: Line, native: Native, path: str, served_id: str) -> None:
        self._call, self._line, self._served_id = call, line, served_id
        self.native, self._path = native, path
        self.streams, self.aggregates, self.strip_usage = call.peek.stream, False, False
        call.record.notes = ()
        is_messages = call.envelope.endpoint is Endpoint.MESSAGES
        self._more = anthropics(call.envelope.headers, VERSION) if is_messages else b""

    def _body(self) -> bytes:
        call, body = self._call, self._call.original
        assert call.asked is not None, "only requests in another dialect come here"
        if (mend := _MEND.get(call.envelope.endpoint)) is not None:
            body, call.record.notes = mend(body)
        is_named = self._served_id == call.asked.model
        return body if is_named else edit(body, {"model": self._served_id})


class Spoken(Outbound):
    """A chat request in the backend's own dialect."""

    __slots__ = ("_more", "_path", "_said", "tongue")

    def __init__(
        self, call: Call, line: Line, tongue: Tongue, model: ModelInfo, served_id: str
    ) -> None:
        self._call, self._line = call, line
        self.tongue, self._more = tongue, tongue.headers
        self.streams, self.aggregates = call.peek.stream, False
        self._path = line.pool.prefix + tongue.path(served_id, streams=self.streams)
        self.strip_usage = self.streams and not call.peek.wants_usage and call.asked is None
        chat = {**msgspec.json.decode(call.body), "model": served_id}
        said = tongue.say(chat, model, room_for(call.peek, model))
        call.record.notes = (*call.notes, *said.notes)
        self._said = msgspec.json.encode(said.body)

    def _auth(self, key: str | None) -> bytes:
        header = None if self.tongue is None else self.tongue.key_header
        if header is None or key is None:
            return super()._auth(key)
        return f"{header}: {key}\r\n".encode()

    def _body(self) -> bytes:
        return self._said


class Lines(Spoken):
    """The same where a stream is lines of JSON, as Ollama's are."""

    stream_type = MEDIA_TYPE
    __slots__ = ()
