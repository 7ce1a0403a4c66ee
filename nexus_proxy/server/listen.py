"""Binding the socket: before anything else, so that a port in use is a sentence and not a crash."""

from __future__ import annotations

import errno
import ipaddress
import socket

from nexus_proxy.errors import NexusError

BACKLOG = 1024
TRIED_PORTS = 100


class PortInUseError(NexusError):
    """Another program listens there. `free_port` is one that is free, if one was found."""

    code = "port_in_use"

    def __init__(self, host: str, port: int, free_port: int | None) -> None:
        self.host, self.port, self.free_port = host, port, free_port
        hint = f" Try: nexus --port {free_port}" if free_port else ""
        super().__init__(f"{host}:{port} is in use by another program.{hint}")


def bind(host: str, port: int) -> socket.socket:
    """A bound, listening, non-blocking socket. Raises `PortInUseError` or `NexusError`."""
    try:
        sock = _listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(host, port, _free_port(host, port)) from None
        raise NexusError(
            f"cannot listen on {host}:{port}: {error.strerror or error}. "
            "Choose another --host or --port."
        ) from None
    return sock


def endpoint(sock: socket.socket) -> str:
    """The address that clients on this machine use."""
    host, port = sock.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this machine can connect."""
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Handed on to what it accepts. uvloop sets it there anyway; asyncio does so only where it
        # can tell that a socket is TCP's, and else a token would wait for the last one's receipt.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _free_port(host: str, port: int) -> int | None:
    for candidate in range(port + 1, min(port + TRIED_PORTS, 65536)):
        try:
            _listen(host, candidate).close()
        except OSError:
            continue
        return candidate
    return None
