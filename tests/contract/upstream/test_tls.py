"""TLS to backends: verified, for HTTP/1.1, and resumed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from nexus_proxy.errors import ConnectFailedError
from nexus_proxy.relay.connections.connect import Connector, Dialer
from tests.contract.upstream.asking import ask_once, left, opened
from tests.support.tls_backend import Authority, TlsBackend


def to(port: int, environ: Mapping[str, str], host: str = "localhost") -> Connector:
    return Dialer(environ).connector("cloud", f"https://{host}:{port}", is_cloud=False)


def trusting(authority: Authority) -> dict[str, str]:
    return {"SSL_CERT_FILE": str(authority.cafile)}


async def test_a_later_connection_resumes_the_session(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    async with TlsBackend(authority.server_context("localhost", version=version)) as backend:
        connector = to(backend.port, trusting(authority))
        for _ in range(3):
            assert (await ask_once(connector)).endswith(b"ok")
        assert backend.reused == [False, True, True]
        assert backend.protocols == ["http/1.1"] * 3
        assert backend.names == ["localhost"] * 3


async def test_many_at_once_resume_what_one_has_left(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    async with TlsBackend(authority.server_context("localhost", version=version)) as backend:
        connector = to(backend.port, trusting(authority))
        await ask_once(connector)
        await asyncio.gather(*(ask_once(connector) for _ in range(8)))
        assert backend.reused == [False] + [True] * 8


async def test_a_server_that_forgot_the_session_is_met_anew(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server_context("localhost", version=version)
    async with TlsBackend(context) as before:
        dialer = Dialer(trusting(authority))
        url = f"https://localhost:{before.port}"
        await ask_once(dialer.connector("a", url, is_cloud=False))
    async with TlsBackend(authority.server_context("localhost", version=version)) as after:
        url = f"https://localhost:{after.port}"
        connector = dialer.connector("b", url, is_cloud=False)
        for _ in range(2):
            await ask_once(connector)
        assert after.reused == [False, True]


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    async with TlsBackend(authority.server_context("other.test")) as backend:
        with pytest.raises(ConnectFailedError, match=r"cloud could not be reached securely.*name"):
            await opened(to(backend.port, trusting(authority)))


async def test_an_unknown_authority_is_refused_and_the_way_to_trust_it_told(
    authority: Authority, cloud: TlsBackend
) -> None:
    with pytest.raises(ConnectFailedError, match=r"not trusted.*SSL_CERT_FILE"):
        await opened(to(cloud.port, {}))


async def test_an_address_is_verified_as_such(authority: Authority) -> None:
    async with TlsBackend(authority.server_context("127.0.0.1")) as backend:
        connector = to(backend.port, trusting(authority), host="127.0.0.1")
        assert (await ask_once(connector)).endswith(b"ok")


async def test_certificates_that_cannot_be_read_are_named_and_read_once_they_can(
    authority: Authority, cloud: TlsBackend, tmp_path: Path
) -> None:
    cafile = tmp_path / "company.pem"
    connector = to(cloud.port, {"SSL_CERT_FILE": str(cafile)})
    with pytest.raises(ConnectFailedError, match=r"SSL_CERT_FILE names .*company\.pem"):
        await opened(connector)
    cafile.write_bytes(authority.cafile.read_bytes())
    await left(await opened(connector))


async def test_a_backend_that_speaks_no_tls_is_an_error_at_once(authority: Authority) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailedError):
            await opened(to(port, trusting(authority)))


async def test_a_backend_that_hangs_up_in_the_handshake_is_an_error_at_once(
    authority: Authority,
) -> None:
    async def rude(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailedError):
            await opened(to(port, trusting(authority)))
