"""The HTTP client of the control plane: probes, health checks, loading models.

It follows no redirect, since keys must not travel. Clouds are reached by the proxy that the
environment names, as on the hot path; most other targets are on this machine or beside it, where a
proxy could only mean something else.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping

import httpx

from nexus_proxy.relay.connections.proxy import Proxies, Proxy, ProxyError, authority
from nexus_proxy.relay.connections.tls import Tls
from nexus_proxy.relay.headers import HOPS


class _ByProxy(httpx.AsyncBaseTransport):
    """Sends requests to clouds by their proxy, and all others directly.

    Certificates are those of the hot path, and read with the first request that needs them.
    """

    def __init__(self, environ: Mapping[str, str], is_cloud: Callable[[str], bool]) -> None:
        self._proxies, self._is_cloud = Proxies(environ), is_cloud
        self._tls = Tls(environ)
        self._plain = httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self._secure: dict[str, httpx.AsyncHTTPTransport] = {}
        """By the variable that names the proxy; "" without one."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx: one request."""
        transport = await self._transport(request)
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        """httpx: close all connections."""
        for transport in (self._plain, *self._secure.values()):
            await transport.aclose()

    async def _transport(self, request: httpx.Request) -> httpx.AsyncHTTPTransport:
        try:
            proxy = self._proxy(request.url)
            if proxy is None and request.url.scheme == "http":
                return self._plain
            name = proxy.variable if proxy else ""
            if name not in self._secure:
                self._secure.setdefault(name, _secured(await self._tls.context(), proxy))
            return self._secure[name]
        except (ProxyError, OSError) as error:
            raise httpx.ConnectError(str(error), request=request) from None

    def _proxy(self, url: httpx.URL) -> Proxy | None:
        if not self._is_cloud(url.host):
            return None
        port = url.port or (443 if url.scheme == "https" else 80)
        return self._proxies.of(url.scheme, url.host, port)


def _secured(context: ssl.SSLContext, proxy: Proxy | None) -> httpx.AsyncHTTPTransport:
    if proxy is None:
        return httpx.AsyncHTTPTransport(verify=context)
    scheme = "https" if proxy.secure else "http"
    way = httpx.Proxy(
        f"{scheme}://{authority(proxy.host, proxy.port)}",
        ssl_context=context if proxy.secure else None,
        headers={"proxy-authorization": proxy.authorization} if proxy.authorization else {},
    )
    return httpx.AsyncHTTPTransport(verify=context, proxy=way)


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
        transport=_ByProxy(environ or {}, is_cloud),
    )
