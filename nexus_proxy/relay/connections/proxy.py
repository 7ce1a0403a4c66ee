"""The way out that the environment names: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.

Read here and not by `urllib.request`, which looks at the process's own environment only, and whose
`NO_PROXY` knows no networks. The rules are curl's (CURLOPT_NOPROXY, "Environment variables" in its
manual): lower case wins, a name covers its subdomains, `*` covers everything, networks are CIDR.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

MAX_ANSWER = 64 * 1024
"""Bytes of headers (and, with a refusal, of page) that a proxy may send before the tunnel."""


class ProxyError(Exception):
    """A proxy is named that cannot be used, or that refused. The message is a clause that names
    its host, never its password."""


class Proxy(Struct, frozen=True, kw_only=True):
    """An HTTP proxy, and the variable that names it. `secure`: reached over TLS."""

    variable: str
    host: str
    port: int
    secure: bool
    authorization: str | None = None

    def __str__(self) -> str:
        return f"the proxy {authority(self.host, self.port)} (from {self.variable})"

    def __repr__(self) -> str:
        return f"Proxy({self})"


class Proxies:
    """The proxies of an environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._named = {
            scheme: found
            for scheme in ("http", "https", "all", "no")
            if (found := _variable(environ, f"{scheme}_proxy")) is not None
        }

    def of(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a URL, if there is one. Raises `ProxyError` for one that is not usable."""
        named = self._named.get(scheme) or self._named.get("all")
        if named is None or is_local(host):
            return None
        if "no" in self._named and _is_excepted(self._named["no"][1], host, port):
            return None
        return _parse(*named, target=host)


def authority(host: str, port: int) -> str:
    """`host:port` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(host: str) -> bool:
    """Whether a proxy could only mean another machine by it than we do."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_link_local)


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """Name and value. An empty lower-case one switches off what the upper-case one says."""
    for variable in (name, name.upper()):
        if variable in environ:
            value = environ[variable].strip()
            return (variable, value) if value else None
    return None


def _is_excepted(no_proxy: str, host: str, port: int) -> bool:
    address = _address(host)
    return any(
        _matches(entry.lower(), host.lower().rstrip("."), address, port)
        for entry in no_proxy.replace(",", " ").split()
    )


def _matches(
    entry: str,
    host: str,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
    port: int,
) -> bool:
    if entry == "*":
        return True
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and (":" not in name or name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    if address is not None:
        return _address(entry.strip("[]")) == address
    suffix = entry.removeprefix("*").strip(".")
    return bool(suffix) and (host == suffix or host.endswith("." + suffix))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _parse(variable: str, value: str, *, target: str) -> Proxy:
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        port = url.port
    except ValueError:
        raise ProxyError(f"{variable} is not the URL of a proxy; write http://host:port") from None
    if not url.hostname:
        raise ProxyError(f"{variable} names no host; write http://host:port")
    if url.scheme not in ("http", "https"):
        raise ProxyError(
            f"{variable} names a {url.scheme} proxy ({url.hostname}), and only http:// and "
            f"https:// ones can be used; set HTTPS_PROXY to one, or add {target} to NO_PROXY"
        )
    return Proxy(
        variable=variable,
        host=url.hostname,
        port=port or (443 if url.scheme == "https" else 80),
        secure=url.scheme == "https",
        authorization=_authorization(url),
    )


def _authorization(url: SplitResult) -> str | None:
    if url.username is None:
        return None
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a connection to `host:port`; `opened` returns once it is there.

    The bytes of the tunnel belong to the protocol that is set on the transport after that.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self._proxy = proxy
        self._target = authority(host, port)
        self._answer = bytearray()
        self._status: asyncio.Future[int | ProxyError] = asyncio.get_running_loop().create_future()

    async def opened(self) -> None:
        """Raises `ProxyError` when the proxy refuses or does not speak HTTP."""
        status = await self._status
        if isinstance(status, ProxyError):
            raise status
        if 200 <= status < 300:
            return
        proxy = self._proxy
        if status == 407:
            raise ProxyError(
                f"{proxy} refused the user name and password in that variable (status 407)"
                if proxy.authorization
                else f"{proxy} asks for a user name and password (status 407); put them into "
                "that variable as http://user:password@host:port"
            )
        raise ProxyError(f"{proxy} refused to connect to {self._target} (status {status})")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected to the proxy."""
        lines = [f"CONNECT {self._target} HTTP/1.1", f"host: {self._target}"]
        if self._proxy.authorization:
            lines.append(f"proxy-authorization: {self._proxy.authorization}")
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the answer to CONNECT."""
        if self._status.done():
            return  # the page that comes with a refusal
        self._answer += data
        head, end, rest = bytes(self._answer).partition(b"\r\n\r\n")
        version, _, status = head.partition(b" ")
        is_http = b"HTTP/".startswith(version[:5])
        if end and is_http and status[:3].isdigit() and not (status[:1] == b"2" and rest):
            self._status.set_result(int(status[:3]))
        elif end or not is_http or len(self._answer) > MAX_ANSWER:
            self._fail("did not answer as an HTTP proxy does")

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the proxy is gone."""
        self._fail("closed the connection without an answer")

    def _fail(self, how: str) -> None:
        if not self._status.done():
            self._status.set_result(ProxyError(f"{self._proxy} {how}"))
