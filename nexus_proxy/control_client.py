"""The HTTP client of the control plane: probes, health checks, loading models.

It follows no redirect, since keys must not travel. Clouds are reached by the proxy that the
environment names, as on the hot path; most other targets are on this machine or beside it, where a
proxy could only mean something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from nexus_proxy.relay.headers import HOPS
from nexus_proxy.relay.proxy import Proxies, Proxy, ProxyError, authority


class _ByProxy(httpx.AsyncBaseTransport):
    """Sends requests to clouds by their proxy, and all others directly."""

    def __init__(self, proxies: Proxies, is_cloud: Callable[[str], bool]) -> None:
        self._proxies, self._is_cloud = proxies, is_cloud
        self._direct = httpx.AsyncHTTPTransport()
        self._by_proxy: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx: one request."""
        return await self._transport(request).handle_async_request(request)

    async def aclose(self) -> None:
        """httpx: close all connections."""
        for transport in (self._direct, *self._by_proxy.values()):
            await transport.aclose()

    def _transport(self, request: httpx.Request) -> httpx.AsyncHTTPTransport:
        url = request.url
        if not self._is_cloud(url.host):
            return self._direct
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            proxy = self._proxies.of(url.scheme, url.host, port)
        except ProxyError as error:
            raise httpx.ConnectError(str(error), request=request) from None
        if proxy is None:
            return self._direct
        if proxy.variable not in self._by_proxy:
            self._by_proxy[proxy.variable] = httpx.AsyncHTTPTransport(proxy=_for_httpx(proxy))
        return self._by_proxy[proxy.variable]


def _for_httpx(proxy: Proxy) -> httpx.Proxy:
    scheme = "https" if proxy.secure else "http"
    headers = {"proxy-authorization": proxy.authorization} if proxy.authorization else {}
    return httpx.Proxy(f"{scheme}://{authority(proxy.host, proxy.port)}", headers=headers)


def make_client(
    node_id: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    is_cloud: Callable[[str], bool] = lambda _host: False,
) -> httpx.AsyncClient:
    """A client. `node_id` tells another Nexus that it is one who asks; `is_cloud` says of a host
    whether a proxy of `environ` may lead to it."""
    return httpx.AsyncClient(
        headers={HOPS.decode(): node_id} if node_id else {},
        trust_env=False,
        follow_redirects=False,
        timeout=5.0,
        transport=_ByProxy(Proxies(environ or {}), is_cloud),
    )
