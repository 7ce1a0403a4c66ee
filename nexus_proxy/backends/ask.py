"""Asking a backend something: one bounded request that never raises for what comes back.

Used by health checks and the fingerprint, not by the relay. Redirects are not followed, bodies are
read up to 4 MiB, and no text of a library's exception is passed on: some quote request headers,
and with them the key.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from functools import cached_property
from socket import gaierror
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nexus_proxy.backends.base import Adapter, ProbeFailed, Target
from nexus_proxy.backends.foreign import decode
from nexus_proxy.config.model import BackendType

if TYPE_CHECKING:
    import httpx

MAX_BODY = 4 * 1024 * 1024
"""Bytes. The longest model list in the wild (a cloud reseller's) is under 1 MiB."""
NODE_HEADER = "x-nexus-node"
"""Every answer of a Nexus carries it, with the id of that Nexus."""
REFUSED = "connection refused"
NO_CONNECTION = "no answer to the attempt to connect"
NO_SUCH_HOST = "host name not found"
NO_ROUTE = "host not reachable"
UNREACHED = frozenset({REFUSED, NO_CONNECTION, NO_SUCH_HOST, NO_ROUTE})
"""The reasons that mean: no request was sent."""
ORDER_CONNECT_SECONDS = 3.0
HINT_SECONDS = 1.5
"""Patience with a question whose answer is only good to have."""


class Answer(Struct, frozen=True, kw_only=True, dict=True):
    """What came back. `status` is 0 and `problem` a short reason where nothing whole did."""

    status: int = 0
    headers: dict[str, str] = {}
    """Lower-case names."""
    body: bytes = b""
    problem: str | None = None

    @cached_property
    def json(self) -> Any:
        """The decoded body, or None where it is no JSON."""
        return decode(self.body)

    @property
    def ok(self) -> bool:
        """Whether it is a 200 with a JSON body. Not yet a proof of anything."""
        return self.status == 200 and self.json is not None

    @property
    def server(self) -> str:
        """The `Server` header, lower case."""
        return self.headers.get("server", "").lower()


class Inquiry:
    """Questions to one backend, with the key that lets us in and `more` headers."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        target: Target,
        adapter: Adapter,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._base = target.base_url
        self._has_key = target.api_key is not None
        self._headers = {**adapter.auth_headers(target), **(more or {})}
        self._may_be_nexus = adapter.type is BackendType.GENERIC

    async def get(self, path: str) -> Answer:
        """Ask within the client's own timeouts.

        A Nexus speaks like Ollama and others: it is taken for an unknown kind only.
        """
        answer = await ask(self._client, self._base + path, headers=self._headers)
        if NODE_HEADER in answer.headers and not self._may_be_nexus:
            return Answer(problem="a Nexus answers there now")
        return answer

    async def hint(self, path: str, *, post: Any = None) -> Answer:
        """Ask for something that is only good to have: gives up after `HINT_SECONDS`."""
        return await ask(
            self._client, self._base + path, headers=self._headers, post=post, within=HINT_SECONDS
        )

    async def order(self, path: str, what: Mapping[str, Any]) -> Answer:
        """Have it do something that takes as long as it takes. The caller bounds it."""
        import httpx

        patience = httpx.Timeout(None, connect=ORDER_CONNECT_SECONDS)
        url = self._base + path
        return await ask(self._client, url, headers=self._headers, post=what, patience=patience)

    def refusal(self, answer: Answer) -> ProbeFailed:
        """Why `answer` does not prove that the backend is up."""
        if answer.problem:
            return ProbeFailed(answer.problem)
        if answer.status in (401, 403):
            return ProbeFailed("refuses the API key" if self._has_key else "asks for an API key")
        if answer.status == 200:
            return ProbeFailed("answers, but with no model list")
        return ProbeFailed(f"answers HTTP {answer.status} to the question for its models")


async def ask(
    client: httpx.AsyncClient,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    post: Any = None,
    patience: httpx.Timeout | None = None,
    within: float | None = None,
) -> Answer:
    """Send GET, or POST `post` as JSON, and read the answer up to `MAX_BODY`.

    `patience` replaces the client's own timeouts; `within` bounds the whole exchange, in seconds.
    """
    import httpx

    # Bodies are read raw: a few KiB of gzip can unpack to gigabytes.
    asked = {"accept": "application/json", "accept-encoding": "identity", **(headers or {})}
    try:
        request = client.build_request(
            "GET" if post is None else "POST",
            url,
            headers=asked,
            json=post,
            timeout=patience or client.timeout,
        )
        async with asyncio.timeout(within):
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                return await _read(response)
            finally:
                await response.aclose()
    except TimeoutError:
        return Answer(problem="no answer in time")
    except UnicodeError:
        return Answer(problem="the API key holds characters that HTTP cannot carry")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(problem=reason(error))


def reason(error: Exception) -> str:
    """A connection's failure in a few words, e.g. `connection refused`. Never quotes the error."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return NO_CONNECTION
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    for cause in _causes(error):
        if isinstance(cause, ConnectionRefusedError):
            return REFUSED
        if isinstance(cause, gaierror):
            return NO_SUCH_HOST
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its TLS certificate is not trusted"
        if isinstance(cause, ssl.SSLError):
            return "no TLS there: try http://"
    if isinstance(error, httpx.ConnectError):
        return NO_ROUTE
    if isinstance(error, httpx.LocalProtocolError):
        return "the API key holds characters that HTTP cannot carry"
    if isinstance(error, httpx.RemoteProtocolError):
        return "closed the connection, or does not speak HTTP"
    return "connection lost"


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, BaseExceptionGroup):
            yield from (leaf for inner in current.exceptions for leaf in _causes(inner))
        yield current
        current = current.__cause__ or current.__context__


async def _read(response: httpx.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            return Answer(headers=headers, problem="its answer has no end")
    return Answer(status=response.status_code, headers=headers, body=bytes(body))
