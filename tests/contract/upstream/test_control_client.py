"""Probes of a cloud take the same way as its traffic; those of others take the short one."""

from __future__ import annotations

import httpx
import pytest

from nexus_proxy.control_client import make_client
from tests.support.connect_proxy import ConnectProxy
from tests.support.tls_backend import Authority, TlsBackend


@pytest.fixture
def environ(
    authority: Authority, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cafile))
    return {"HTTPS_PROXY": f"http://me:secret@127.0.0.1:{proxy.port}"}


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
