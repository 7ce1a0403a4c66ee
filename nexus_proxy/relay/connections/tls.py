"""TLS to backends: one verified context for all of them, and sessions that are resumed.

A full handshake costs this side 740 µs of CPU with TLS 1.3 and 1,120 with 1.2 (measured, ECDSA,
OpenSSL 3.0), a resumed one 470 and 500, and with 1.2 a round trip less. Neither asyncio nor uvloop
has an argument for a session, but both call `do_handshake` of an object of the context's own
`sslobject_class`, which is where one can be offered.

Why not truststore: it verifies with the system's own store, which Python does by itself on Linux,
and it wraps the context's objects, so that no session could be offered. Where Python finds no
store (the installer for macOS), certifi's is used. Probes verify by the same rules.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping

from nexus_proxy.tasks import spawn

TAKE_AGAIN_SECONDS = 300.0
"""A session that still resumes is kept so long: CPython copies a session whenever it is read or
set, certificate and all, and each copy costs 170 to 280 µs."""


class Sessions:
    """The session to resume for each host name.

    TLS 1.2 has it after the handshake; with TLS 1.3 the server sends it with or after its first
    answer. So the newest connection of a host is kept in sight and asked only when the next one
    begins. One small object per host name, as many as there are backends.
    """

    def __init__(self) -> None:
        self._newest: dict[str, ssl.SSLObject] = {}
        self._sessions: dict[str, tuple[ssl.SSLSession, float]] = {}

    def of(self, host: str) -> ssl.SSLSession | None:
        """What a new connection to `host` may offer."""
        newest = self._newest.get(host)
        if newest is not None and (session := _resumable(newest)) is not None:
            self._sessions[host] = session, time.monotonic()
            del self._newest[host]  # with its buffers
        kept = self._sessions.get(host)
        return kept and kept[0]

    def note(self, host: str, connected: ssl.SSLObject) -> None:
        """Remember a connection whose handshake is done, if its session is needed."""
        kept = self._sessions.get(host)
        if kept and connected.session_reused and time.monotonic() - kept[1] < TAKE_AGAIN_SECONDS:
            return
        self._newest[host] = connected

    def forget(self, host: str) -> None:
        """Offer nothing next time: a handshake failed, for whatever reason."""
        self._newest.pop(host, None)
        self._sessions.pop(host, None)


def _resumable(connected: ssl.SSLObject) -> ssl.SSLSession | None:
    session = connected.session
    if session is None:
        return None
    by_id = connected.version() != "TLSv1.3" and session.id
    return session if session.has_ticket or by_id else None


class Tls:
    """Makes the context once, in a thread: reading the CA files takes up to 80 ms."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._cafile = environ.get("SSL_CERT_FILE") or None
        self._capath = environ.get("SSL_CERT_DIR") or None
        self._loading: asyncio.Task[ssl.SSLContext | OSError] | None = None
        self.sessions = Sessions()

    async def context(self) -> ssl.SSLContext:
        """The context of all connections. Raises `OSError` (`ssl.SSLError` too) naming the file
        when the environment points at certificates that cannot be read."""
        if self._loading is None:
            self._loading = spawn(self._load(), name="load CA certificates")
        # Shielded: whoever gives up waiting must not take it from those who wait on.
        loaded = await asyncio.shield(self._loading)
        if isinstance(loaded, OSError):
            self._loading = None
            raise loaded
        return loaded

    async def _load(self) -> ssl.SSLContext | OSError:
        try:
            return await asyncio.to_thread(self._make)
        except OSError as error:
            named = self._cafile or self._capath
            if named is None:
                return error
            variable = "SSL_CERT_FILE" if self._cafile else "SSL_CERT_DIR"
            why = error.strerror or error
            return ssl.SSLError(1, f"{variable} names {named}, which cannot be used: {why}")

    def _make(self) -> ssl.SSLContext:
        cafile, capath = self._cafile, self._capath
        if not cafile and not capath:
            system = ssl.get_default_verify_paths()
            if not system.cafile and not system.capath:
                import certifi

                cafile = certifi.where()
        context = ssl.create_default_context(cafile=cafile, capath=capath)
        context.set_alpn_protocols(["http/1.1"])
        context.sslobject_class = _resuming(self.sessions)
        return context


def _resuming(sessions: Sessions) -> type[ssl.SSLObject]:
    class Resuming(ssl.SSLObject):
        """Offers the host's last session when its handshake begins."""

        _began = False

        def do_handshake(self) -> None:
            """Called again and again until the handshake is done; raises until then."""
            host = self.server_hostname or ""
            if not self._began:
                self._began = True
                if (session := sessions.of(host)) is not None:
                    self.session = session
            super().do_handshake()
            sessions.note(host, self)

    return Resuming
