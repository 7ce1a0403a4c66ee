"""A backend behind real TLS on loopback, with certificates of an authority of its own."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import trustme

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Authority:
    """Issues certificates; `cafile` is what `SSL_CERT_FILE` may name."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.cafile = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.cafile))

    def server_context(self, *names: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._ca.issue_cert(*names).configure_cert(context)
        return context


class TlsBackend:
    """Answers each request with 200. Remembers of each connection what was agreed on.

    Attributes:
        reused: per handshake, whether it resumed a session.
        names: the server names that clients asked for (SNI).
        protocols: what ALPN chose.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.reused: list[bool] = []
        self.names: list[str | None] = []
        self.protocols: list[str | None] = []
        self.port = 0
        self._context = context
        context.sni_callback = self._note_name
        self._writers: set[asyncio.StreamWriter] = set()

    def _note_name(self, _socket: object, name: str | None, _context: ssl.SSLContext) -> None:
        self.names.append(name)

    async def __aenter__(self) -> TlsBackend:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        agreed = writer.get_extra_info("ssl_object")
        self.reused.append(bool(agreed.session_reused))
        self.protocols.append(agreed.selected_alpn_protocol())
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
