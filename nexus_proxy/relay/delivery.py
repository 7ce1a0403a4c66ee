"""From a backend's answer to the client's: as a stream, as a whole, or a whole out of a stream."""

from __future__ import annotations

import math
import time

import msgspec

from nexus_proxy.dialects import direct
from nexus_proxy.dialects.base import Asked, ChatStream, Dialect
from nexus_proxy.dialects.openai import UNREADABLE, as_object, error_sentence
from nexus_proxy.dialects.openai_embeddings import as_base64
from nexus_proxy.dialects.openai_stream import (
    Aggregator,
    Usage,
    decode_chunk,
    read_answer,
    read_chunk,
)
from nexus_proxy.dialects.sse import DONE, EventSplitter
from nexus_proxy.dialects.tongue import Named, Tongue
from nexus_proxy.errors import (
    UpstreamCutError,
    UpstreamError,
    UpstreamGarbageError,
    UpstreamStatusError,
)
from nexus_proxy.relay import truncation
from nexus_proxy.relay.call import Call
from nexus_proxy.relay.headers import HeaderList, retry_after_seconds, returned
from nexus_proxy.relay.outbound import Outbound
from nexus_proxy.relay.patience import Patience
from nexus_proxy.relay.quoting import without_quotations
from nexus_proxy.relay.secrecy import Secret
from nexus_proxy.relay.tap import ModelName, StreamTap
from nexus_proxy.relay.upstream import Exchange
from nexus_proxy.relay.wire import Head, Wait
from nexus_proxy.state import RequestPhase
from nexus_proxy.telemetry.history import Attempt

MAX_WHOLE_ANSWER = 256 * 1024 * 1024
MAX_ERROR_BODY = 1024 * 1024
MAX_EVENT = 64 * 1024 * 1024
"""Bytes of one event of a stream; it is passed on only when it is whole."""
MAX_HELD = 1024 * 1024
"""Bytes that may come before the first token; more is passed on as it is."""
DONE_EVENT = b"data: " + DONE + b"\n\n"
JSON_TYPE = (b"content-type", b"application/json")
_STREAMING = RequestPhase.STREAMING


class Delivery:
    """Carries one answer of one backend to one client. Raises `UpstreamError` when it breaks."""

    __slots__ = (
        "_attempt",
        "_call",
        "_ear",
        "_exchange",
        "_has_tap",
        "_head",
        "_held",
        "_held_size",
        "_native",
        "_passes",
        "_patience",
        "_rename",
        "_secret",
        "_stream_type",
        "_strip_usage",
        "_tap",
        "_tongue",
    )

    def __init__(
        self,
        call: Call,
        exchange: Exchange,
        patience: Patience,
        attempt: Attempt,
        *,
        secret: Secret | None,
        rename: ModelName | None,
        outbound: Outbound,
    ) -> None:
        self._call = call
        self._exchange = exchange
        self._patience = patience
        self._attempt = attempt
        self._secret = secret
        self._rename = rename
        self._strip_usage = outbound.strip_usage
        self._native, self._tongue = outbound.native, outbound.tongue
        self._stream_type = outbound.stream_type
        self._has_tap = self._passes = False

    async def head(self) -> Head:
        """Wait for status and headers."""
        while (head := await self._exchange.head()) is None:
            await self._call.sign_of_life()
        self._head = head
        return head

    async def read(self, limit: int) -> bytes:
        """The whole body, up to `limit` bytes; what is more is a fault."""
        data = await self._next()
        if self._exchange.ended and len(data) <= limit:
            return data
        parts, size = [data], len(data)
        while data := await self._next():
            parts.append(data)
            size += len(data)
            if size > limit:
                raise self._garbage(f"sent more than {limit // 2**20} MiB")
        return b"".join(parts)

    async def failure(self) -> UpstreamError:
        """What an answer with another status than 200 amounts to."""
        head = self._head
        body = self._hide(await self.read(MAX_ERROR_BODY))
        status, headers = head.status, head.headers
        if self._tongue is not None:
            failed = self._tongue.failure(status, body)
            status, body = failed.status, failed.body
            if failed.retry_after is not None:
                headers = [*headers, (b"retry-after", b"%d" % math.ceil(failed.retry_after))]
        said = self._sentence(body)
        sentence = f"answered {head.status}{f': {said}' if said else ''}"
        if head.status < 400:  # a redirect would take the key and the prompt elsewhere
            return self._garbage(f"{sentence}, which is no answer; is its URL the right one?")
        return UpstreamStatusError(
            f"{self._attempt.backend} {sentence}",
            backend=self._attempt.backend,
            upstream_status=status,
            headers=self._hide_in(headers),
            body=body,
            retry_after=retry_after_seconds(headers, now=time.time()),
            is_native=self._native is not None and _holds_error(body),
        )

    async def stream(self) -> None:
        """Event stream in, the same events out, as they come."""
        self._require(self._stream_type)
        call, exchange, patience = self._call, self._exchange, self._patience
        tap = self._start_tap()
        self._held: list[bytes] = []
        self._held_size = 0
        if call.asked is not None and call.envelope.dialect is not None:
            is_native = self._native is not None
            call.voice = None if is_native else call.envelope.dialect.stream(call.asked)
        sink = self._pass_on
        if self._tongue is not None:
            self._ear, sink = self._tongue.ear(self._named()), self._hear
        while not exchange.ended:
            wait = await exchange.flow(sink)
            if wait is None:
                await call.sign_of_life()
                continue
            patience.client_is_slow = True
            await wait()
            patience.client_is_slow = False
        if tap.error is not None and call.voice is None:
            call.told = True
            await call.responder.finish()
        self._check_whole()
        if not call.committed:
            await self._open()
        if call.voice is not None:
            await call.write_all(b"".join(call.voice.finish()))
        elif not tap.done:
            await call.write_all(DONE_EVENT)
        await call.responder.finish()
        self._settle()

    async def whole(self) -> None:
        """JSON in, the same JSON out, once it is whole."""
        self._require(b"application/json")
        body = await self.read(MAX_WHOLE_ANSWER)
        if self._native is not None:
            facts = self._native.read_whole(body)
        else:
            body = body if self._tongue is None else self._understood(body, self._tongue)
            facts = read_answer(self._call.endpoint, body)
        if not facts.is_answer:
            raise self._no_answer(body)
        self._first_token()
        self._note(facts.usage, facts.finish_reason)
        if self._call.heard is not None:
            self._call.heard.whole(body)
        await self._respond(as_base64(body) if self._call.peek.wants_base64 else body)

    async def pass_through(self) -> None:
        """Whatever comes, as it comes: JSON once it is whole, all else (sound, pictures, text,
        events) in pieces. What breaks off after its first piece ends without the end of its body,
        which every client takes for the failure that it is."""
        head = self._head
        kind = head.get(b"content-type") or b"application/octet-stream"
        bare = kind.partition(b";")[0].strip().lower()
        if bare == b"text/html" or head.get(b"content-encoding") not in (None, b"identity", b""):
            raise self._garbage("answered with a web page, or with a compressed answer")
        if bare.endswith(b"json"):
            await self._pass_json()
            return
        call, splitter = self._call, EventSplitter() if bare == b"text/event-stream" else None
        if not (data := await self._next()):
            raise self._garbage("answered 200 with nothing")
        self._first_token()
        call.committed = call.told = True
        await call.responder.start(200, call.headers((b"content-type", kind), *self._returned()))
        usage = None
        while data:
            if splitter is not None and splitter.pending < MAX_EVENT:
                for event in splitter.feed(data):
                    usage = direct.usage_of(event) or usage
            if (wait := call.write(data)) is not None:
                self._patience.client_is_slow = True
                await wait()
                self._patience.client_is_slow = False
            self._patience.stirred = True
            data = await self._next()
        self._note(usage, None)
        await call.responder.finish()

    async def aggregate(self) -> None:
        """Event stream in, one JSON answer out."""
        if (self._head.get(b"content-type") or b"").startswith(b"application/json"):
            await self.whole()
            return
        self._require(b"text/event-stream")
        aggregator = Aggregator(self._call.endpoint)
        self._start_tap()
        while data := await self._next():
            for event in self._observe(data):
                try:
                    aggregator.add(event)
                except UNREADABLE:
                    raise self._garbage("sent an event that cannot be read") from None
        self._check_whole()
        self._settle()
        await self._respond(aggregator.answer())

    async def _pass_json(self) -> None:
        body = await self.read(MAX_WHOLE_ANSWER)
        facts = direct.read_answer(body)
        if not facts.is_answer:
            said = self._sentence(self._hide(body))
            raise self._garbage(f"answered 200 without an answer{f': {said}' if said else ''}")
        self._first_token()
        self._note(facts.usage, None)
        await self._respond(body)

    # -- inside --------------------------------------------------------------------------------

    async def _next(self) -> bytes:
        while (data := await self._exchange.body()) is None:
            await self._call.sign_of_life()
        return data

    def _start_tap(self) -> StreamTap:
        self._tap = StreamTap(
            choices=self._call.peek.choices,
            strip_usage=self._strip_usage,
            rename=self._rename,
            read=read_chunk if self._native is None else self._native.reader(),
        )
        self._has_tap = True
        if self._call.heard is not None:
            self._call.heard.again()
        self._call.record.counting = self._tap
        return self._tap

    def _pass_on(self, data: bytes) -> Wait | None:
        """Give what came to the client; hold it back as long as another backend may take over."""
        if self._passes and self._tap.is_token(data):
            self._patience.stirred = True
            return self._call.write(data)
        events = self._observe(data)
        if (voice := self._call.voice) is not None:
            events = self._voiced(voice, events)
        if self._call.committed:
            if not events:
                return None
            return self._call.write(events[0] if len(events) == 1 else b"".join(events))
        self._held += events
        self._held_size += len(data)
        promised = self._tap.seen_token or self._tap.complete or self._held_size > MAX_HELD
        return self._open if promised else None

    def _hear(self, data: bytes) -> Wait | None:
        """The same for what a backend says in its own dialect."""
        try:
            said = self._ear.feed(data)
        except UNREADABLE:
            raise self._garbage("sent an event that cannot be read") from None
        if self._ear.beat:
            self._patience.stirred = True
        if self._ear.pending > MAX_EVENT:
            raise self._garbage(f"sent an event of more than {MAX_EVENT // 2**20} MiB")
        return self._pass_on(said) if said else None

    def _understood(self, body: bytes, tongue: Tongue) -> bytes:
        """A whole answer in the backend's own dialect, as chat."""
        try:
            return tongue.whole(body, self._named())
        except (*UNREADABLE, AttributeError, TypeError):
            raise self._no_answer(body) from None

    def _named(self) -> Named:
        return Named(model=self._call.peek.model, created=int(self._call.record.started))

    def _voiced(self, voice: ChatStream, events: list[bytes]) -> list[bytes]:
        """The backend's events as the caller's."""
        if self._tap.error is not None:
            return []  # told when the backend's stream has ended
        try:
            chunks = [chunk for event in events if (chunk := decode_chunk(event)) is not None]
            return [said for chunk in chunks for said in voice.feed(chunk)]
        except (*UNREADABLE, AttributeError, TypeError):
            raise self._garbage("sent an event that cannot be read") from None

    async def _open(self) -> None:
        """Commit to this backend, and send what was held back."""
        await self._call.commit(self._returned())
        held, self._held = b"".join(self._held), []
        await self._call.write_all(held)
        self._passes = self._call.voice is None and self._call.heard is None

    def note_interrupted(self) -> None:
        """The answer broke off, or its client left: what came of it counts. A client that had the
        last event had all, though the backend's body goes on for a moment."""
        if not self._has_tap or not self._call.committed:
            return
        tap = self._tap
        if tap.done and tap.error is None and self._call.voice is None:
            self._call.record.phase, self._call.record.status = RequestPhase.DONE, 200
        record, self._call.relayed_tokens = self._call.record, tap.token_events
        if tap.usage is not None:
            self._note(tap.usage, tap.finish_reason)
        elif tap.token_events:
            record.completion_tokens, record.usage_source = tap.token_events, "estimated"

    def _observe(self, data: bytes) -> list[bytes]:
        """Feed the tap; note the first token; turn an early error event into an error."""
        tap = self._tap
        tokens = tap.token_events
        events = tap.feed(data)
        if tap.token_events > tokens or tap.complete:
            if self._attempt.first_token_ms is None:
                self._first_token()
            else:
                self._patience.stirred = True
        elif tap.has_beat:
            tap.has_beat = False
            self._patience.stirred = True
        elif tap.pending > MAX_EVENT:
            raise self._garbage(f"sent an event of more than {MAX_EVENT // 2**20} MiB")
        if tap.error is None:
            if self._call.heard is not None:
                self._call.heard.events(events)
            return events
        if not self._call.committed:
            raise self._error_event(tap.error)
        self._passes = False
        return [self._hide(event) for event in events]

    def _first_token(self) -> None:
        self._patience.first_token()
        attempt, record, now = self._attempt, self._call.record, time.perf_counter()
        attempt.first_token_ms = (now - attempt.clock) * 1000.0
        record.first_token_ms, record.phase = (now - record.clock) * 1000.0, _STREAMING
        self._call.history.progressed(record)

    def _check_whole(self) -> None:
        tap = self._tap
        if tap.error is not None:
            raise self._error_event(tap.error)
        if not tap.complete:
            raise UpstreamCutError(
                f"{self._attempt.backend} ended its stream after {tap.token_events} pieces without "
                "the last finish reason",
                backend=self._attempt.backend,
            )

    def _settle(self) -> None:
        usage, tap = self._tap.usage, self._tap
        self._note(usage, tap.finish_reason)
        if usage is None and tap.token_events:
            record = self._call.record
            record.completion_tokens, record.usage_source = tap.token_events, "estimated"

    def _note(self, usage: Usage | None, finish_reason: str | None) -> None:
        record = self._call.record
        record.finish_reason = finish_reason
        if usage is not None:
            self._call.usage = usage
            record.prompt_tokens = usage.prompt_tokens
            record.completion_tokens = usage.completion_tokens
            record.cached_tokens = usage.cached_tokens
            record.reasoning_tokens = usage.reasoning_tokens
            record.usage_source = "measured"
            truncation.look(self._call, usage)

    async def _respond(self, body: bytes) -> None:
        if self._rename is not None:
            body = self._rename.restore(body)
        call = self._call
        dialect = call.envelope.dialect if self._native is None else None
        if call.asked is not None and dialect is not None:
            body = self._translated(body, dialect, call.asked)
        call.committed = True
        headers = call.headers(JSON_TYPE, *self._returned())
        await call.responder.respond(200, headers, body)

    def _translated(self, body: bytes, dialect: Dialect, asked: Asked) -> bytes:
        """A chat answer as the caller's. One that makes no sense is the backend's fault."""
        try:
            return msgspec.json.encode(dialect.from_chat(as_object(body) or {}, asked))
        except (*UNREADABLE, AttributeError, TypeError):
            raise self._garbage("sent an answer that cannot be read") from None

    def _returned(self) -> HeaderList:
        headers = self._hide_in(returned(self._head.headers))
        if self._call.admitted is not None:  # the limits that it has here are others
            headers = [h for h in headers if b"-ratelimit-" not in h[0]]
        return headers

    def _sentence(self, body: bytes) -> str:
        """What an error says, for people and for the record."""
        said, call = error_sentence(body), self._call
        return without_quotations(said, call.body, but=call.peek.model) if said else said

    def _hide(self, data: bytes) -> bytes:
        return data if self._secret is None else self._secret.hide(data)

    def _hide_in(self, headers: HeaderList) -> HeaderList:
        return headers if self._secret is None else self._secret.hide_in(headers)

    def _require(self, content_type: bytes) -> None:
        """Refuse what is plainly something else. No content type at all is believed."""
        head = self._head
        if head.get(b"content-type") == content_type and not head.get(b"content-encoding"):
            return
        encoding = head.get(b"content-encoding")
        if encoding not in (None, b"identity", b""):
            raise self._garbage(f"compressed its answer ({encoding!r}) although told not to")
        got = (head.get(b"content-type") or content_type).partition(b";")[0].strip().lower()
        if got != content_type and not (
            content_type == b"application/json" and got.endswith((b"json", b"text/plain"))
        ):
            shown = got.decode("latin-1")[:60]
            raise self._garbage(f"answered with {shown} instead of {content_type.decode()}")

    def _garbage(self, what: str) -> UpstreamGarbageError:
        return UpstreamGarbageError(
            f"{self._attempt.backend} {what}", backend=self._attempt.backend
        )

    def _no_answer(self, body: bytes) -> UpstreamGarbageError:
        said = self._sentence(self._hide(body))
        return self._garbage(f"answered 200 without an answer{f': {said}' if said else ''}")

    def _error_event(self, error: bytes) -> UpstreamStatusError:
        body = msgspec.json.encode({"error": msgspec.Raw(self._hide(error))})
        inner = (as_object(body) or {}).get("error")
        code = inner.get("code") if isinstance(inner, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        return UpstreamStatusError(
            f"{self._attempt.backend} reported an error: {self._sentence(body) or 'no reason'}",
            backend=self._attempt.backend,
            upstream_status=status,
            body=body,
        )


def _holds_error(body: bytes) -> bool:
    return isinstance((as_object(body) or {}).get("error"), dict)
