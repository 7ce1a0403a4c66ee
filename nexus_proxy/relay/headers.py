"""Headers in and out: what is read of a caller's, what goes upstream, what comes back.

Both directions are allow-lists. A caller's `Authorization` and cookies never go upstream; a
backend's cookies and CORS headers never come back.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from nexus_proxy import __version__
from nexus_proxy.config.model import Zone
from nexus_proxy.errors import (
    InvalidRequestError,
    LoopDetectedError,
    NexusError,
    RateLimitedError,
    RequestCancelledError,
    RoutingRefusedError,
    UpstreamStatusError,
)
from nexus_proxy.telemetry.history import Attempt, Record

HOPS = b"x-nexus-hops"
NODE = b"x-nexus-node"
MAX_HOPS = 8
MAX_DETAILS = 4096
MAX_RETRY_AFTER_SECONDS = 86_400

_FORWARDED = (
    b"openai-organization",
    b"openai-project",
    b"openai-beta",
    b"idempotency-key",
    b"traceparent",
    b"tracestate",
)
_RETURNED = re.compile(
    rb"^(content-language|openai-.*|x-ratelimit-.*|(anthropic-)?ratelimit.*|retry-after(-ms)?"
    rb"|x-should-retry)$"
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,128}")
_NODE_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header value may hold. A server refuses it in HTTP/1.1, but not each one in HTTP/2."""
_UNSAFE = re.compile(r"[^\x20-\x7e]")
_NO = (b"false", b"no", b"0", b"")

Headers = Mapping[bytes, bytes]
Header = tuple[bytes, bytes]
HeaderList = list[Header]


def joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name. What comes more than once is one list, as HTTP has it, so that no word of a
    caller is lost: two zones are no zone, two hop headers are both looked at."""
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        found[name] = found[name] + b", " + value if name in found else value
    return found


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks of the gateway by header."""

    zone: Zone
    strict: bool
    flexible: bool
    max_usd: float | None
    is_urgent: bool


def read_wishes(headers: Headers) -> Wishes:
    """Raises `InvalidRequestError` for a wish that cannot be read or cannot be kept."""
    zone = Zone.OPEN
    if (raw := headers.get(b"x-nexus-zone")) is not None:
        try:
            zone = Zone.parse(raw.decode("latin-1"))
        except ValueError as error:
            raise InvalidRequestError(f"X-Nexus-Zone: {error}") from None
    return Wishes(
        zone=zone,
        strict=headers.get(b"x-nexus-strict", b"").strip().lower() not in _NO,
        flexible=headers.get(b"x-nexus-flexible", b"").strip().lower() not in _NO,
        max_usd=_max_usd(headers),
        is_urgent=_is_urgent(headers),
    )


def _is_urgent(headers: Headers) -> bool:
    asked = headers.get(b"x-nexus-priority", b"normal").strip().lower()
    if asked not in (b"high", b"normal"):
        raise InvalidRequestError("X-Nexus-Priority must be high or normal")
    return asked == b"high"


def _max_usd(headers: Headers) -> float | None:
    raw = headers.get(b"x-nexus-max-cost")
    if raw is None:
        return None
    try:
        usd = float(raw.strip().removeprefix(b"$"))
    except ValueError:
        usd = float("nan")
    if not 0 <= usd < float("inf"):
        raise InvalidRequestError("X-Nexus-Max-Cost must be an amount of USD, such as 0.05")
    return usd


def callers_id(headers: Headers) -> str | None:
    """The caller's own request id, where it is harmless."""
    for name in (b"x-request-id", b"x-client-request-id"):
        value = headers.get(name)
        if value and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return None


def new_id() -> str:
    """A request id. Unique, not secret: no system call for it."""
    return f"req-{random.getrandbits(64):016x}"


def request_id(headers: Headers) -> str:
    """The caller's own id where it is harmless, else a new one."""
    return callers_id(headers) or new_id()


def check_hops(headers: Headers, node_id: str) -> bytes:
    """The value of the hop header to send on. Raises `LoopDetectedError` if we are in it."""
    came = headers.get(HOPS)
    if came is None:
        return node_id.encode()
    hops = [hop for hop in map(bytes.strip, came.split(b",")) if _NODE_ID.fullmatch(hop)]
    if node_id.encode() in hops:
        raise LoopDetectedError(
            "this request came through this gateway before: two gateways list each other as "
            "backends. Remove one of them (`nexus backends remove`)."
        )
    if len(hops) >= MAX_HOPS:
        raise LoopDetectedError(f"this request came through {len(hops)} gateways already")
    return b", ".join((*hops, node_id.encode()))


def passed_on(headers: Headers, hops: bytes) -> bytes:
    """Lines of an upstream's head that come from the caller's, each with its line end."""
    lines = [HOPS + b": " + hops + b"\r\n"]
    lines += [
        name + b": " + headers[name] + b"\r\n"
        for name in _FORWARDED
        if name in headers and not _CONTROL.search(headers[name])
    ]
    return b"".join(lines)


def anthropics(headers: Headers, version: str) -> bytes:
    """Lines of a head for Anthropic alone: the caller's own `anthropic-*`, among them what it wants
    to try (`anthropic-beta`) and the version of the API, which is `version` by default."""
    names = [name for name in headers if name.startswith(b"anthropic-")]
    lines = [b"%b: %b\r\n" % (n, headers[n]) for n in names if not _CONTROL.search(headers[n])]
    if b"anthropic-version" not in names:
        lines.append(b"anthropic-version: %b\r\n" % version.encode())
    return b"".join(lines)


@lru_cache(maxsize=1024)
def fixed_lines(
    path: str, authority: str, accept: str, content_type: str = "application/json"
) -> bytes:
    """What is the same in every POST to one endpoint of one backend."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {content_type}\r\n"
        f"accept: {accept}\r\naccept-encoding: identity\r\nuser-agent: nexus/{__version__}\r\n"
    ).encode("latin-1")


def returned(headers: Iterable[Header]) -> HeaderList:
    """Those of a backend's headers that the client gets, beside a content type of ours."""
    kept = []
    for name, value in headers:
        ours = _returned_as(name)
        if ours is not None and not _CONTROL.search(value):
            kept.append((ours, value))
    return kept


@lru_cache(maxsize=512)
def _returned_as(name: bytes) -> bytes | None:
    """The name under which the client gets a backend's header; None: not at all."""
    if name in (b"x-request-id", b"request-id"):
        return b"x-nexus-upstream-request-id"
    return name if _RETURNED.match(name) else None


def retry_after_seconds(headers: Iterable[tuple[bytes, bytes]], *, now: float) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` (seconds or an HTTP date).

    `now` is seconds since the epoch. None where absent or unreadable.
    """
    found = dict(headers)
    try:
        if raw := found.get(b"retry-after-ms"):
            seconds = float(raw) / 1000.0
        elif raw := found.get(b"retry-after"):
            seconds = _seconds(raw.decode("latin-1").strip(), now)
        else:
            return None
    except (ValueError, TypeError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None


def _seconds(text: str, now: float) -> float:
    from email.utils import parsedate_to_datetime

    return float(text) if text[:1].isdigit() else parsedate_to_datetime(text).timestamp() - now


def refusal(error: NexusError) -> HeaderList:
    """Headers that go with an error: rejections, `Retry-After`, `x-should-retry`."""
    headers: HeaderList = []
    if isinstance(error, RoutingRefusedError):
        rejections = error.context.get("rejections", [])
        reasons = "; ".join(f"{r['backend']}: {r['reason']}" for r in rejections)
        headers.append((b"x-nexus-rejection-reasons", header_text(reasons)))
        headers.append((b"x-nexus-rejection-details", _details(rejections)))
    if _is_hopeless(error):
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, RateLimitedError):
        headers += error.headers
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None and not isinstance(error, UpstreamStatusError):
        headers.append((b"retry-after", str(max(1, round(retry_after))).encode()))
    return headers


@lru_cache(maxsize=1024)
def header_text(text: str) -> bytes:
    """Foreign text made harmless for a header: printable ASCII, bounded."""
    return _UNSAFE.sub("?", text[:MAX_DETAILS]).encode()


def _is_hopeless(error: NexusError) -> bool:
    """Whether a client that sent the same again would only get the same."""
    if isinstance(error, RoutingRefusedError):
        return error.retry_after is None
    return isinstance(error, (LoopDetectedError, RequestCancelledError))


def _details(rejections: Iterable[dict[str, Any]]) -> bytes:
    """As many rejections as fit, as a JSON list."""
    told: list[str] = []
    left = MAX_DETAILS
    for rejection in rejections:
        text = json.dumps(rejection, ensure_ascii=True)
        left -= len(text) + 2
        if left < 0:
            break
        told.append(text)
    return f"[{', '.join(told)}]".encode()


@lru_cache(maxsize=1024)
def route_lines(
    backend: str, is_cloud: bool, reason: str, zone: str, served_id: str, is_fallback: bool
) -> tuple[Header, ...]:
    """What every answer of one backend for one reason says of where it came from."""
    text = header_text
    headers = [
        (b"x-nexus-backend", text(backend)),
        (b"x-nexus-backend-type", b"cloud" if is_cloud else b"local"),
        (b"x-nexus-route-reason", text(reason)),
        (b"x-nexus-privacy-zone", zone.encode()),
        (b"x-nexus-model", text(served_id)),
    ]
    if is_fallback:
        headers.append((b"x-nexus-fallback-model", text(served_id)))
    return tuple(headers)


def timing(record: Record, attempt: Attempt) -> Header:
    """What is known of the time so far, when the backend's first byte came."""
    route, upstream = record.route_ms or 0.0, attempt.elapsed_ms()
    told = b"route;dur=%.2f, upstream;dur=%.1f" % (route, upstream)
    if record.queued_ms is not None:
        told = b"queue;dur=%.1f, %b" % (record.queued_ms, told)
    return b"server-timing", told
