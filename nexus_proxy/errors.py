"""Everything that can go wrong, as one tree. Each leaf knows how it looks to a caller.

NexusError
├── ConfigError                 the file, environment or a flag is wrong (exit code 2)
├── CommandError                an operator verb was refused
│   └── NotFoundError           … because what it names does not exist
├── StoreUnavailableError       the state file cannot be read or written now
├── GatewayUnreachableError     the CLI found no running gateway (exit code 3)
├── DemoError                   the embedded demo backend cannot run, or ended by itself
├── RequestError                the caller's own mistake, never retried
│   ├── InvalidRequestError             400
│   ├── ContextOverflowError            400: longer than the context of all who could serve it
│   ├── UnauthorizedError               401
│   ├── BudgetExceededError             402: the month's money, or the key's, is spent
│   ├── ForbiddenError                  403
│   │   └── ModelNotAllowedError        … because the key is not for this model
│   ├── UnknownRouteError               404
│   ├── UnknownModelError               404
│   ├── MethodNotAllowedError           405
│   ├── SlowBodyError                   408
│   ├── BodyTooLargeError               413
│   ├── UnsupportedMediaTypeError       415
│   ├── RateLimitedError                429: the key's requests or tokens per minute are used up
│   └── LoopDetectedError               508
├── RoutingRefusedError         503: nobody may or can serve this now, with a reason per backend
│   ├── QueueFullError                  503: all who could are busy, and there is no place to wait
│   └── QueueTimeoutError               503: waited as long as it may, and all are busy still
├── GatewayStoppingError        503: this gateway is shutting down
├── RequestCancelledError       499: the operator ended this request
└── UpstreamError               a backend failed; the relay may try another one
    ├── AirplaneError                   503: airplane mode came while a cloud was asked
    ├── ConnectFailedError              502
    ├── OutOfConnectionsError           503: this gateway cannot open one more connection to it
    ├── UpstreamCutError                502: closed before the answer was whole
    ├── UpstreamGarbageError            502: answered, but not with what was asked for
    ├── UpstreamStatusError             the backend's own status
    └── ClockError                      504: one of the clocks ran out; `clock` names it
        └── HostSilentError             504: the host stopped answering while we waited
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nexus_proxy.wording import plural


class NexusError(Exception):
    """Base of all errors that are meant for people. `str(error)` is a full sentence."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = "internal_error"
    param: str | None = None

    @property
    def message(self) -> str:
        """The sentence shown to a person: what happened, to what, and what to do now."""
        return str(self)


class ConfigError(NexusError):
    """The configuration cannot be used. Carries where the mistake stands.

    Attributes:
        file: path of the file, or the variable or flag that holds the value; None for defaults.
        line: 1-based line in the file, where known.
        key: dotted key, e.g. `server.port`.
        hint: what to write instead, e.g. the nearest known key.
        others: how many further problems were found with this first one.
    """

    code = "invalid_config"

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
        others: int = 0,
    ) -> None:
        self.problem, self.file, self.line, self.key, self.hint = problem, file, line, key, hint
        self.others = others
        where = file or ""
        if file and line:
            where = f"{file}:{line}"
        text = ": ".join(part for part in (where, key, problem) if part)
        if hint:
            text += f" ({hint})"
        if others:
            text += f"; and {plural(others, 'more problem')}: `nexus config check` lists all"
        super().__init__(text)


class CommandError(NexusError):
    """An operator verb was refused. The message says why and what would work."""

    status = 409
    type = "invalid_request_error"
    code = "command_refused"


class NotFoundError(CommandError):
    """A verb or a management route names something that does not exist."""

    status = 404
    code = "not_found"


class StoreUnavailableError(NexusError):
    """The state file cannot be read or written now."""

    code = "store_unavailable"


class GatewayUnreachableError(NexusError):
    """No gateway answers at the address that the CLI was given."""

    code = "gateway_unreachable"


class DemoError(NexusError):
    """The demo's own backend cannot run here, did not start, or ended by itself."""

    code = "demo_failed"


class RequestError(NexusError):
    """The caller's own mistake: answered at once, never retried, never held against a backend."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidRequestError(RequestError):
    """The body is not what the route takes."""


class ContextOverflowError(RequestError):
    """The prompt is longer than the context of every backend that could serve it."""

    code = "context_length_exceeded"


class UnauthorizedError(RequestError):
    """No key, or a wrong one."""

    status = 401
    code = "invalid_api_key"


class ForbiddenError(RequestError):
    """A browser page or a host name that may not use this gateway."""

    status = 403
    code = "forbidden"


class ModelNotAllowedError(ForbiddenError):
    """The caller's key has a list of models, and this one is not on it."""

    code = "model_not_allowed"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model")


class UnknownRouteError(RequestError):
    """No such path."""

    status = 404
    code = "unknown_route"


class UnknownModelError(RequestError):
    """No backend lists the model. `nearest` holds the names that come closest, best first."""

    status = 404
    code = "model_not_found"

    def __init__(self, message: str, *, nearest: Sequence[str] = ()) -> None:
        super().__init__(message, param="model")
        self.nearest = tuple(nearest)


class MethodNotAllowedError(RequestError):
    """The path exists, but not with this method. `allow` lists those that do."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: Sequence[str]) -> None:
        super().__init__(message)
        self.allow = tuple(allow)


class SlowBodyError(RequestError):
    """The client stopped sending in the middle of its request."""

    status = 408
    code = "request_timeout"


class BodyTooLargeError(RequestError):
    """The body is larger than `server.max_body_mb`."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaTypeError(RequestError):
    """The body's content type or encoding is not one that the route takes."""

    status = 415
    code = "unsupported_media_type"


class BudgetExceededError(RequestError):
    """The month's budget, or the API key's, does not allow this request."""

    status = 402
    type = "insufficient_quota"
    code = "budget_exceeded"


class RateLimitedError(RequestError):
    """The key's requests or tokens per minute are used up.

    Attributes:
        retry_after: whole seconds after which such a request will pass, if no other comes first.
        headers: `retry-after-ms` and OpenAI's `x-ratelimit-*`, to be sent beside `Retry-After`.
    """

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(
        self, message: str, *, retry_after: int, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.headers = tuple(headers)


class LoopDetectedError(RequestError):
    """The request passed through this very gateway before (two that list each other)."""

    status = 508
    code = "loop_detected"


class RoutingRefusedError(NexusError):
    """Nobody may or can serve the request now.

    Attributes:
        context: `{required_tier, required_zone, available_backends, rejections[{backend, stage,
            reason, fix}], eta_seconds}` as the error body shows it.
        retry_after: seconds after which a retry may help; None when waiting cannot help.
    """

    status = 503
    type = "service_unavailable"
    code = "no_available_backend"

    def __init__(
        self, message: str, *, context: Mapping[str, Any], retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.context = dict(context)
        self.retry_after = retry_after


class QueueFullError(RoutingRefusedError):
    """All backends that could serve the request are busy, and the queue is full or off."""

    code = "queue_full"


class QueueTimeoutError(RoutingRefusedError):
    """The request waited for `queue.max_wait_seconds` and no slot became free for it."""

    code = "queue_timeout"


class GatewayStoppingError(NexusError):
    """The gateway drains before it stops and takes no new requests."""

    status = 503
    type = "service_unavailable"
    code = "gateway_stopping"


class RequestCancelledError(NexusError):
    """The operator ended the request. Clients do not repeat what is answered with a 4xx; 499 is
    what `google.rpc.Code` maps CANCELLED to."""

    status = 499
    type = "request_cancelled"
    code = "cancelled_by_operator"


class UpstreamError(NexusError):
    """A backend failed to answer. `backend` is its name."""

    status = 502
    type = "server_error"
    code = "upstream_error"

    def __init__(self, message: str, *, backend: str) -> None:
        super().__init__(message)
        self.backend = backend


class AirplaneError(UpstreamError):
    """Airplane mode was switched on while a cloud was asked, or about to be."""

    status = 503
    type = "service_unavailable"
    code = "airplane_mode"


class ConnectFailedError(UpstreamError):
    """The connection was refused, reset or could not be secured before a byte came back."""

    code = "upstream_unreachable"


class OutOfConnectionsError(UpstreamError):
    """This gateway can open no further connection to the backend, which did nothing wrong."""

    status = 503
    type = "service_unavailable"
    code = "out_of_connections"


class UpstreamCutError(UpstreamError):
    """The backend closed the connection, or ended its stream, before the answer was whole."""

    code = "upstream_cut"


class UpstreamGarbageError(UpstreamError):
    """The backend answered with something else than what was asked for (an HTML page, say)."""

    code = "upstream_invalid_response"


class UpstreamStatusError(UpstreamError):
    """The backend answered with an error status.

    Attributes:
        upstream_status: the HTTP status it sent.
        headers: its response headers, lower-case names.
        body: its body as sent, bounded.
        retry_after: seconds, from `Retry-After` or `retry-after-ms`; None where absent.
        is_native: the body is in the caller's own dialect, and goes to it as it is.
    """

    def __init__(
        self,
        message: str,
        *,
        backend: str,
        upstream_status: int,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        retry_after: float | None = None,
        is_native: bool = False,
    ) -> None:
        super().__init__(message, backend=backend)
        self.is_native = is_native
        self.upstream_status = upstream_status
        self.headers = tuple(headers)
        self.body = body
        self.retry_after = retry_after


class ClockError(UpstreamError):
    """One of the five clocks ran out; `clock` is `connect`, `first_token`, `idle`, `total` or
    `load`, and `seconds` what it was set to."""

    status = 504
    code = "upstream_timeout"

    def __init__(self, message: str, *, backend: str, clock: str, seconds: float) -> None:
        super().__init__(message, backend=backend)
        self.clock = clock
        self.seconds = seconds


class HostSilentError(ClockError):
    """While a request waited, the host stopped answering on a second connection too."""

    code = "upstream_silent"
