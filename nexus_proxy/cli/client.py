"""Talking to a running gateway over HTTP, as the commands do."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click
import msgspec

from nexus_proxy import __version__
from nexus_proxy.backends.address import normalise
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.errors import CommandError, GatewayUnreachableError, NexusError

if TYPE_CHECKING:
    import ssl

    import httpx

T = TypeVar("T")

KEY_VARIABLE = "NEXUS_API_KEY"
SECONDS = 10.0
VERB_SECONDS = 60.0
"""A verb may probe a backend that does not answer, which takes its own time to fail."""
SILENCE_SECONDS = 35.0
"""The event stream has a comment every ten seconds."""

_NODE = "x-nexus-node"
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


# Its parameter is not called `url`, since a verb may have an argument of that name.
url_option = click.option(
    "--url", "gateway", metavar="URL", help="Address of the gateway. Default: as configured."
)


def gateway_url(url: str | None, options: RunOptions) -> str:
    """Where the gateway should be: `url`, else the host and port of command line, environment
    and file. Raises `click.UsageError` and `ConfigError`."""
    if url is not None:
        try:
            return normalise(url)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--url") from None
    from nexus_proxy.config.load import load

    server = load(options.config, environ=os.environ, starting=False).config.server
    host = options.host or server.host
    port = server.port if options.port is None else options.port
    if port == 0:
        raise click.UsageError("the configured port is 0, which is any free one: give --url")
    return f"http://{_reachable(host)}:{port}"


def credentials(key: str | None) -> dict[str, str]:
    """The headers that tell a gateway who asks."""
    return {"authorization": f"Bearer {key}"} if key else {}


def certificates(url: str) -> ssl.SSLContext | bool:
    """What httpx shall `verify` the gateway at `url` with: nothing where it is not HTTPS, since to
    read the certificates of the world takes up to 80 ms."""
    import ssl

    return url.lower().startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def connected(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command a `Client` as its first argument, and the option `--url`."""

    @url_option
    @click.pass_context
    @functools.wraps(function)
    def with_client(
        context: click.Context, /, *args: Any, gateway: str | None, **kwargs: Any
    ) -> None:
        with Client(gateway_url(gateway, context.ensure_object(RunOptions))) as client:
            function(client, *args, **kwargs)

    return with_client


class Client:
    """One gateway. Every call raises `GatewayUnreachableError` where none answers, and
    `CommandError` with the gateway's own words where it refuses."""

    def __init__(self, url: str, *, seconds: float = SECONDS) -> None:
        import httpx

        key = os.environ.get(KEY_VARIABLE, "")
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers=credentials(key),
            verify=certificates(url),
            timeout=seconds,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, type: type[T], params: Mapping[str, str | int] | None = None) -> T:
        """GET `path`; the answer as a `type`."""
        return self._read(self._send("GET", path, params=params), type)

    def post(self, path: str, body: Mapping[str, Any], type: type[T]) -> T:
        """POST `body` as JSON; the answer as a `type`."""
        return self._read(self._send("POST", path, json=dict(body), timeout=VERB_SECONDS), type)

    def events(self) -> Iterator[dict[str, Any]]:
        """What happens in the gateway, from now on, until it closes the stream."""
        import httpx

        timeout = httpx.Timeout(SECONDS, read=SILENCE_SECONDS)
        try:
            with self._http.stream("GET", "/nexus/v1/events", timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                self._check(answer)
                for line in answer.iter_lines():
                    if line.startswith("data:"):
                        yield msgspec.json.decode(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        import httpx

        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._check(answer)
        return answer

    def _check(self, answer: httpx.Response) -> None:
        if _NODE not in answer.headers:
            raise GatewayUnreachableError(
                f"what answers at {self.url} is not a Nexus gateway. Give the gateway's address "
                "with --url; `nexus doctor` says what is there."
            )
        if answer.is_error:
            raise CommandError(_error_message(answer))

    def _read(self, answer: httpx.Response, type: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.content, type=type)
        except msgspec.DecodeError as error:
            raise NexusError(
                f"the answer of {self.url} cannot be read by nexus {__version__}: {error}. "
                "Is the gateway of another version?"
            ) from error

    def _unreachable(self, error: Exception) -> GatewayUnreachableError:
        reason = _ERRNO.sub("", str(error)) or type(error).__name__
        return GatewayUnreachableError(
            f"no gateway answers at {self.url}: {reason}. "
            "Start one with `nexus` or `nexus serve`, or give its address with --url."
        )


def _reachable(host: str) -> str:
    """The address to connect to for an address that is listened on."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)


def _error_message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered with HTTP {answer.status_code}"
