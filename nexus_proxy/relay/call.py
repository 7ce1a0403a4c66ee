"""One client request on its way: what it is, its record, and what its client has got so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from nexus_proxy.admission.keys import Key
from nexus_proxy.admission.limits import Admitted
from nexus_proxy.config.model import Priority
from nexus_proxy.dialects.base import Asked, ChatStream, Dialect
from nexus_proxy.dialects.openai import Endpoint, RequestPeek
from nexus_proxy.dialects.openai_stream import Usage
from nexus_proxy.dialects.sse import MEDIA_TYPE, PING
from nexus_proxy.errors import InvalidRequestError, NexusError
from nexus_proxy.quality.affinity import NO_KEYS, Keys
from nexus_proxy.relay.headers import Header, HeaderList, Wishes
from nexus_proxy.relay.heard import Heard
from nexus_proxy.relay.responder import Responder
from nexus_proxy.relay.wire import Wait
from nexus_proxy.state import ModelInfo
from nexus_proxy.telemetry.history import History, Record

OPEN_AFTER = 15.0
"""Seconds without a token after which a stream is opened, to keep the client's connection alive.
Until then nothing is promised and the status is still free."""
PING_EVERY = 10.0
LOOK_EVERY = 1.0
"""How often a pause is interrupted to see whether a sign of life is due."""

_UNBUFFERED: HeaderList = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
SSE_HEADERS: HeaderList = [(b"content-type", MEDIA_TYPE), *_UNBUFFERED]


class Envelope(Struct, frozen=True, kw_only=True):
    """All that the head of a request says, judged once: clients send the same one again and again.

    Attributes:
        headers: names in lower case.
        keep_alive: the client's connection takes another request after this one.
        encoding: content coding of the body, in lower case; `b""`: none.
        answer_headers: go on the answer, whatever it is (CORS).
        refusal: why the request is not even looked at.
        wishes: what the caller asks of the gateway; None where `problem` says why not.
        problem: why it cannot be served, to be answered and recorded as a failed request.
        request_id: the caller's own id, where it is harmless.
        session: what the caller calls the conversation that this request belongs to.
        key: the API key that it came with; None: none is needed.
        passed_on: lines for the upstream's head: the hops, and what is forwarded.
        dialect: turns the request into chat and the answer back; None: it is OpenAI's as it is.
    """

    endpoint: Endpoint
    endpoint_name: str
    headers: Mapping[bytes, bytes]
    keep_alive: bool
    encoding: bytes
    answer_headers: HeaderList
    refusal: NexusError | None
    wishes: Wishes | None
    problem: NexusError | None
    request_id: str | None
    session: bytes | None
    key: Key | None
    passed_on: bytes
    dialect: Dialect | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing stands against requests with this head."""
        return self.refusal is None and self.problem is None

    @property
    def priority(self) -> Priority:
        """The class of the queue: the API key's or the caller's own word, whichever is higher."""
        asked = self.wishes is not None and self.wishes.is_urgent
        if asked or (self.key is not None and self.key.priority is Priority.HIGH):
            return Priority.HIGH
        return Priority.NORMAL


class Call(Struct):
    """State of one request while it is served. `committed`: a backend's bytes reached the client,
    so no other backend can take over. `told`: the backend's own error event did, so that no
    second one is due; `cancelled`: the operator ended it. `keys` are what its conversation is known
    by; `admitted` is what was taken off the API key's limits for it, `most_tokens` how
    long the prompt may be, `usage` what the backend counted, `relayed_tokens` what of its answer
    reached the client. `model` is what the backend that is asked says of its model.
    `endpoint` is the one that backends are asked at. Of a request in another dialect, `body` and
    `peek` are its translation, `notes` what that could not carry, `original` what the client sent,
    `untranslatable` why it can only be sent as it is; `asked` is what its answer must know, and
    `voice` puts the stream that is under way into the caller's events. `heard` is there while
    content logging is on."""

    envelope: Envelope
    body: bytes
    responder: Responder
    record: Record
    peek: RequestPeek
    history: History
    base_headers: HeaderList
    clock: float
    endpoint: Endpoint
    asked: Asked | None = None
    original: bytes = b""
    notes: Sequence[str] = ()
    untranslatable: InvalidRequestError | None = None
    voice: ChatStream | None = None
    heard: Heard | None = None
    keys: Keys = NO_KEYS
    admitted: Admitted | None = None
    most_tokens: int | None = None
    usage: Usage | None = None
    relayed_tokens: int = 0
    model: ModelInfo | None = None
    route_headers: HeaderList = []
    committed: bool = False
    told: bool = False
    cancelled: bool = False
    last_write: float = 0.0

    def headers(self, *more: Header) -> HeaderList:
        """Ours for this answer, and `more`."""
        return [*self.base_headers, *self.route_headers, *more]

    async def commit(self, upstream_headers: HeaderList) -> None:
        """Promise the client this backend's stream."""
        self.committed = True
        if not self.responder.started:
            await self.responder.start(200, self.headers(*self._of_stream(), *upstream_headers))

    def write(self, data: bytes) -> Wait | None:
        """Pass bytes on; see `Responder.write`."""
        self.last_write = time.monotonic()
        return self.responder.write(data)

    async def write_all(self, data: bytes) -> None:
        """Pass bytes on, and wait until there is room for more."""
        if (wait := self.write(data)) is not None:
            await wait()

    async def pause(self, seconds: float) -> None:
        """Wait before another try; the client is kept informed."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_EVERY))
            await self.sign_of_life()

    async def sign_of_life(self) -> None:
        """Send a comment to a streaming client that has heard nothing for long."""
        if not self.peek.stream:
            return
        now = time.monotonic()
        if not self.responder.started:
            if now - self.clock < OPEN_AFTER:
                return
            await self.responder.start(200, self.headers(*self._of_stream()))
        elif now - self.last_write < PING_EVERY:
            return
        dialect = self.envelope.dialect
        if ping := PING if dialect is None else dialect.ping:
            await self.write_all(ping)

    def _of_stream(self) -> HeaderList:
        dialect = self.envelope.dialect
        if dialect is None:
            return SSE_HEADERS
        return [(b"content-type", dialect.stream_type), *_UNBUFFERED]
