"""Probes of a cloud take the same way as its traffic; those of others take the short one."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from nexus_proxy.control_client import make_client
from tests.support.connect_proxy import ConnectProxy
from tests.support.scripted import ScriptedBackend
from tests.support.tls_backend import Authority, TlsBackend


@pytest.fixture
def environ(authority: Authority, proxy: ConnectProxy) -> dict[str, str]:
    return {
        "SSL_CERT_FILE": str(authority.cafile),
        "HTTPS_PROXY": f"http://me:secret@127.0.0.1:{proxy.port}",
    }


async def test_a_cloud_is_probed_through_the_proxy(
    cloud: TlsBackend, proxy: ConnectProxy, environ: dict[str, str]
) -> None:
    async with make_client(environ=environ, is_cloud=lambda host: host == "api.test") as client:
        answer = await client.get(f"https://api.test:{cloud.port}/v1/models")
        assert answer.text == "ok"
        near = await client.get(f"https://localhost:{cloud.port}/v1/models")
        assert near.text == "ok"
    assert proxy.asked == [f"api.test:{cloud.port}"]
    assert proxy.authorizations != [None]


async def test_a_proxy_that_cannot_be_used_is_a_failed_probe(environ: dict[str, str]) -> None:
    environ = {"HTTPS_PROXY": "socks5://127.0.0.1:9"}
    async with make_client(environ=environ, is_cloud=lambda _host: True) as client:
        with pytest.raises(httpx.ConnectError, match="socks5"):
            await client.get("https://api.test/v1/models")


async def test_only_what_needs_certificates_reads_them(cloud: TlsBackend, tmp_path: Path) -> None:
    missing = tmp_path / "company.pem"
    async with (
        ScriptedBackend() as backend,
        make_client(environ={"SSL_CERT_FILE": str(missing)}) as client,
    ):
        assert (await client.get(f"{backend.url}/v1/models")).status_code == 200
        with pytest.raises(httpx.ConnectError, match=r"SSL_CERT_FILE names .*company\.pem"):
            await client.get(f"https://localhost:{cloud.port}/v1/models")
