"""The hot routes: checks before the relay, and their way in over ASGI."""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import Any

from nexus_proxy.api import loading
from nexus_proxy.api.asgi import STALL_SECONDS, ClientLeft, Receive, Scope
from nexus_proxy.api.gate import Gate
from nexus_proxy.api.paths import HOT_TARGETS, hot_endpoint
from nexus_proxy.api.refusals import own_headers, refuse
from nexus_proxy.dialects.direct import FORMS
from nexus_proxy.dialects.foreign import FOREIGN, OLLAMA
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import (
    BodyTooLargeError,
    GatewayStoppingError,
    NexusError,
    SlowBodyError,
    UnsupportedMediaTypeError,
)
from nexus_proxy.events import ConfigReloaded, Event
from nexus_proxy.quality.affinity import session_of
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.call import Envelope
from nexus_proxy.relay.responder import Responder
from nexus_proxy.runtime import Runtime
from nexus_proxy.tasks import spawn

log = logging.getLogger(__name__)

DISCARD_FACTOR = 4
"""A body over the limit is read and thrown away up to this many times the limit, so that a client
that writes before it reads gets the 413 instead of a broken pipe."""
JSON_TYPES = ("application/json", "text/json", "text/plain", "")
"""Content types taken for JSON: what curl and old clients send by mistake is let through, except
a form, which is what a hostile page can send without a preflight."""
_FROM_BROWSER = frozenset((b"origin", b"sec-fetch-site"))
"""Every browser sends one of these with a POST, `Origin` even with a form and from no page at all
(`null`), and the gate judges that. What has neither is a program on whose behalf no page can act:
it may say what it likes, as to a real Ollama, of which `curl -d` is told to ask."""


class HotRoutes:
    """Answers hot requests. Both fronts, the lane and ASGI, come here.

    Attributes:
        known: what sound heads said, by a key of the lane's; forgotten when rules change. In
            memory only, as they hold the tokens that clients send.
    """

    def __init__(self, runtime: Runtime, gate: Gate) -> None:
        self._runtime, self._gate = runtime, gate
        self.known: dict[bytes, Envelope] = {}
        self.max_body = body_limit(runtime)
        runtime.bus.subscribe(self._reload, ConfigReloaded)

    def endpoint_of(self, target: bytes) -> Endpoint | None:
        """The hot endpoint at a request target (path, maybe with a query), or None."""
        return HOT_TARGETS.get(target) or hot_endpoint(target)

    def envelope(
        self, endpoint: Endpoint, headers: dict[bytes, bytes], *, keep_alive: bool = True
    ) -> Envelope:
        """What a head says and whether it may pass."""
        cors: list[wire_headers.Header] = []
        wishes, refusal, problem = None, None, None
        hops, key = b"", None
        try:
            self._gate.check(headers)
            cors = self._gate.cors(headers)
            if self._runtime.keyring.required:
                key = self._runtime.keyring.check(headers)
            _check_content_type(endpoint, headers)
        except NexusError as error:
            refusal = error
        try:
            hops = wire_headers.check_hops(headers, self._runtime.node_id)
            wishes = wire_headers.read_wishes(headers)
        except NexusError as error:
            problem = error
        return Envelope(
            endpoint=endpoint,
            endpoint_name=endpoint.value,
            headers=headers,
            keep_alive=keep_alive,
            encoding=headers.get(b"content-encoding", b"").lower(),
            answer_headers=cors,
            refusal=refusal,
            wishes=wishes,
            problem=problem,
            request_id=wire_headers.callers_id(headers),
            session=session_of(headers),
            key=key,
            passed_on=wire_headers.passed_on(headers, hops),
            dialect=FOREIGN.get(endpoint),
        )

    async def serve_hot(
        self, envelope: Envelope, body: bytes, client: str, responder: Responder
    ) -> None:
        """Answer one request whose body is whole. Raises nothing but cancellation."""
        if envelope.refusal is not None:
            await self._refuse(responder, envelope.refusal, envelope)
            return
        try:
            if self._runtime.draining:
                raise GatewayStoppingError("this gateway is stopping and takes no new requests")
            if envelope.encoding:
                body = decoded(body, envelope.encoding, self.max_body)
            if envelope.endpoint in loading.ENDPOINTS and (
                told := loading.loaded(envelope, body, self._runtime)
            ):
                own = own_headers(envelope.headers, self._runtime.node_id)
                more = [(b"content-type", b"application/x-ndjson"), *envelope.answer_headers]
                await responder.respond(200, [*own, *more], told + b"\n")
                return
        except NexusError as error:
            await self._refuse(responder, error, envelope)
            return
        try:
            await self._runtime.relay.serve(envelope, body, client, responder)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("a request failed inside the gateway")
            if not responder.started:
                failed = NexusError("the gateway failed on this request; its log says why")
                await self._refuse(responder, failed, envelope)

    async def _refuse(self, responder: Responder, error: NexusError, envelope: Envelope) -> None:
        self._runtime.tally.refuse(error.code, envelope.endpoint_name)
        node_id, cors = self._runtime.node_id, envelope.answer_headers
        await refuse(
            responder,
            error,
            envelope.headers,
            node_id=node_id,
            cors=cors,
            dialect=envelope.dialect,
        )

    def _reload(self, _event: Event) -> None:
        self.known.clear()
        self.max_body = body_limit(self._runtime)

    async def refuse_late(self, envelope: Envelope, responder: Responder) -> None:
        """Answer a client that has stopped sending in the middle of its body."""
        await self._refuse(responder, envelope.refusal or _too_slow(), envelope)

    async def serve_asgi(
        self,
        endpoint: Endpoint,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        responder: Responder,
    ) -> None:
        """Read the body, then answer, unless the client leaves. Raises `BodyTooLargeError`."""
        try:
            body = await read_body(receive, self.max_body)
        except ClientLeft:
            return
        client = scope.get("client") or ("?", 0)
        serving = spawn(
            self.serve_hot(self.envelope(endpoint, headers), body, str(client[0]), responder),
            name="request",
        )
        leaving = spawn(_until_gone(receive), name="watch client")
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            leaving.cancel()
        await asyncio.wait({serving})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def body_limit(runtime: Runtime) -> int:
    """Longest body that is taken, in bytes."""
    return int(runtime.config.server.max_body_mb * 1024 * 1024)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body, at most `limit` bytes.

    Raises `BodyTooLargeError`, `SlowBodyError` or `ClientLeft`.
    """
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await _next(receive)
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            parts.append(chunk)
        else:
            parts.clear()
        if size > limit * DISCARD_FACTOR:
            break
        more = message.get("more_body", False)
    if size > limit:
        raise BodyTooLargeError(
            f"the body is larger than {limit / 2**20:g} MiB (server.max_body_mb)"
        )
    return b"".join(parts)


async def _next(receive: Receive) -> dict[str, Any]:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await receive()
    except TimeoutError:
        raise _too_slow() from None


def _too_slow() -> SlowBodyError:
    return SlowBodyError(f"no more of the body came for {STALL_SECONDS:g} s; send it again")


def decoded(body: bytes, encoding: bytes, limit: int) -> bytes:
    """`body` without its content coding.

    Raises `UnsupportedMediaTypeError`, and `BodyTooLargeError` for a bomb.
    """
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"deflate"):
        raise UnsupportedMediaTypeError(
            f"Content-Encoding {encoding.decode('latin-1')[:40]} is not taken; send gzip, deflate "
            "or no encoding"
        )
    inflater = zlib.decompressobj(wbits=47 if encoding == b"gzip" else zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise UnsupportedMediaTypeError(f"the body is not {encoding.decode()}: {error}") from None
    if len(plain) > limit:
        raise BodyTooLargeError(f"the body inflates to more than {limit / 2**20:g} MiB")
    if not inflater.eof or inflater.unused_data:
        raise UnsupportedMediaTypeError(f"the body is not one whole {encoding.decode()} stream")
    return plain


def _check_content_type(endpoint: Endpoint, headers: dict[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    kind = content_type.partition(";")[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith("+json"):
        return
    if endpoint in OLLAMA and not _FROM_BROWSER & headers.keys():
        return
    takes_form = endpoint in FORMS
    if takes_form and kind == "multipart/form-data":
        return
    wanted = "multipart/form-data or application/json" if takes_form else "application/json"
    raise UnsupportedMediaTypeError(f"Content-Type {kind[:80]!r} is not taken here; send {wanted}")
