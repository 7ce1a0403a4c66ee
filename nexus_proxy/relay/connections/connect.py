"""Opening connections to backends: addresses, proxy, TLS, and how many there may be.

Everything happens within the connect clock, and every address of a host gets its turn within it:
a second one is tried beside the first after `HAPPY_DELAY` (RFC 8305), so that neither an address
that swallows packets nor `localhost` meaning ::1 first costs more than that.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from nexus_proxy.errors import (
    ClockError,
    ConnectFailedError,
    OutOfConnectionsError,
    UpstreamError,
)
from nexus_proxy.relay.connections.addresses import Addresses
from nexus_proxy.relay.connections.proxy import Proxies, Proxy, ProxyError, Tunnel
from nexus_proxy.relay.connections.tls import Tls

HAPPY_DELAY = 0.25
"""Seconds, RFC 8305's recommended Connection Attempt Delay."""
MAX_OPEN = 4096
"""Connections to one backend at a time; half the file descriptors where those are fewer."""
COUNT_EVERY = 64
"""Connections that may be opened before those that are closed meanwhile are let go."""
KEEPALIVE: Final = {"TCP_KEEPIDLE": 45, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds, seconds, probes. A model may think for minutes without a byte. The first probe comes
before the shortest idle time that routers are known to forget a connection after (60 s); a host
that is gone is noticed after 45 + 4 × 15 = 105 s, before the idle clock's default of 120 s."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Dialer:
    """What all connectors share: the TLS context, and the proxies of the environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._tls = Tls(environ)
        self._proxies = Proxies(environ)

    def connector(self, backend: str, base_url: str, *, is_cloud: bool) -> Connector:
        """The way to one backend. Only to a cloud it may lead through a proxy."""
        proxies = self._proxies if is_cloud else None
        return Connector(backend, base_url, tls=self._tls, proxies=proxies)


class Connector:
    """Opens connections to one backend."""

    def __init__(self, backend: str, base_url: str, *, tls: Tls, proxies: Proxies | None) -> None:
        parts = urlsplit(base_url)
        self.backend, self.base_url = backend, base_url
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self._tls, self._proxies = tls, proxies
        self._addresses: Addresses | None = None
        self._via = ""
        self._opening = 0
        self._count_at = COUNT_EVERY
        self._open_ones: list[socket.socket | asyncio.Transport] = []

    async def connect(
        self, protocol_factory: Callable[[], P], seconds: float
    ) -> tuple[asyncio.Transport, P]:
        """A new connection, taken within `seconds`.

        Raises `ConnectFailedError`, `ClockError` for the connect clock, and
        `OutOfConnectionsError` when it is this gateway that cannot have one more.
        """
        self._check_bound()
        self._opening += 1
        clock = asyncio.timeout(seconds)
        try:
            async with clock:
                return await self._open(protocol_factory)
        except (OSError, ProxyError) as error:
            if clock.expired():
                raise ClockError(
                    f"{self.backend} did not take a connection{self._via} within {seconds:g} s "
                    "(connect clock)",
                    backend=self.backend,
                    clock="connect",
                    seconds=seconds,
                ) from None
            raise self._failure(error) from error
        finally:
            self._opening -= 1

    # -- inside --------------------------------------------------------------------------------

    async def _open(self, protocol_factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        proxy = None
        if self._proxies is not None:
            scheme = "https" if self.secure else "http"
            proxy = self._proxies.of(scheme, self.host, self.port)
            self._via = f" through {proxy}" if proxy else ""
        context = await self._tls.context() if self.secure else None
        if proxy:
            return await self._open_through(proxy, protocol_factory, context)
        loop = asyncio.get_running_loop()
        addresses = self._addresses_of(self.host, self.port)
        if context is None and addresses.on_this_machine:
            # Half the CPU of a socket of ours (uvloop: 70 against 150 µs), for those backends that
            # take one stream a connection. Nothing to race for, and no network to keep it alive in.
            transport, protocol = await loop.create_connection(
                protocol_factory, self.host, self.port
            )
            self._open_ones.append(transport)
            return transport, protocol
        sock = await self._dial(addresses)
        try:
            return await loop.create_connection(
                protocol_factory,
                sock=sock,
                ssl=context,
                server_hostname=self.host if context else None,
            )
        except BaseException:
            self._tls.sessions.forget(self.host)
            raise

    async def _open_through(
        self, proxy: Proxy, protocol_factory: Callable[[], P], context: ssl.SSLContext | None
    ) -> tuple[asyncio.Transport, P]:
        """A tunnel through `proxy`, for plain HTTP too: no proxy is to read what is said."""
        loop = asyncio.get_running_loop()
        try:
            outer = await self._tls.context() if proxy.secure else None
            sock = await self._dial(self._addresses_of(proxy.host, proxy.port))
            transport, tunnel = await loop.create_connection(
                lambda: Tunnel(proxy, self.host, self.port),
                sock=sock,
                ssl=outer,
                server_hostname=proxy.host if outer else None,
            )
        except OSError as error:
            if _is_ours(error):
                raise
            raise ProxyError(f"{proxy} cannot be reached: {_reason(error)}") from error
        try:
            await tunnel.opened()
            protocol = protocol_factory()
            if context is None:
                transport.set_protocol(protocol)
            else:
                transport = await self._secure(transport, protocol, context)
            if transport.is_closing():
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            protocol.connection_made(transport)
        except BaseException:
            transport.abort()
            raise
        return transport, protocol

    async def _secure(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.BaseProtocol,
        context: ssl.SSLContext,
    ) -> asyncio.Transport:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, protocol, context, server_hostname=self.host
            )
        except BaseException:
            self._tls.sessions.forget(self.host)
            raise
        assert secured is not None
        return secured

    def _addresses_of(self, host: str, port: int) -> Addresses:
        addresses = self._addresses
        if addresses is None or (addresses.host, addresses.port) != (host, port):
            self._addresses = addresses = Addresses(host, port)
        return addresses

    async def _dial(self, addresses: Addresses) -> socket.socket:
        """A connected socket, by whichever address answers first. Raises `OSError`."""
        try:
            sock = await start_connection(
                await addresses.find(),
                happy_eyeballs_delay=HAPPY_DELAY,
                socket_factory=_make_socket,
            )
        except RuntimeError as error:
            # uvloop says so of a descriptor whose last owner is still closing.
            raise OSError(errno.EBUSY, str(error)) from error
        except BaseException:
            addresses.doubt()
            raise
        self._open_ones.append(sock)
        return sock

    def _check_bound(self) -> None:
        """Connections tell by themselves whether they are closed, whoever closed them."""
        bound = min(MAX_OPEN, _descriptors() // 2)
        if len(self._open_ones) + self._opening < min(bound, self._count_at):
            return
        self._open_ones = [one for one in self._open_ones if _is_open(one)]
        self._count_at = 2 * len(self._open_ones) + COUNT_EVERY
        if len(self._open_ones) + self._opening >= bound:
            raise OutOfConnectionsError(
                f"{self.backend} has {bound} connections open already, which is as many as it "
                "may have; set max_concurrent for it, or raise the limit of open files (ulimit -n)",
                backend=self.backend,
            )

    def _failure(self, error: OSError | ProxyError) -> UpstreamError:
        if isinstance(error, ProxyError):
            text = f"{self.backend} could not be reached: {error}"
        elif _is_ours(error):
            return OutOfConnectionsError(
                f"this gateway has no file descriptor left for a connection to {self.backend} "
                f"(limit {_descriptors()}); raise it (ulimit -n) or close clients",
                backend=self.backend,
            )
        elif isinstance(error, ssl.SSLError):
            text = f"{self.backend} could not be reached securely: {_reason(error)}"
        elif isinstance(error, socket.gaierror):
            text = f"{self.backend} could not be found: {self.host}: {_reason(error)}"
        else:
            text = f"{self.backend} at {self.base_url} refused the connection: {_reason(error)}"
        return ConnectFailedError(text, backend=self.backend)


def _make_socket(address: AddrInfoType) -> socket.socket:
    sock = socket.socket(address[0], address[1], address[2])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


def _is_open(one: socket.socket | asyncio.Transport) -> bool:
    return one.fileno() >= 0 if isinstance(one, socket.socket) else not one.is_closing()


def _is_ours(error: OSError) -> bool:
    return error.errno in (errno.EMFILE, errno.ENFILE) and not isinstance(error, socket.gaierror)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message} "
            "(to trust another authority, name its file in SSL_CERT_FILE)"
        )
    if isinstance(error, ssl.SSLError):
        return getattr(error, "reason", None) or error.strerror or str(error)
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)  # asyncio and uvloop word it differently
    return error.strerror or str(error)


def _descriptors() -> int:
    """How many files this process may have open."""
    if sys.platform == "win32":
        return 2 * MAX_OPEN
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2 * MAX_OPEN if soft == resource.RLIM_INFINITY else soft
