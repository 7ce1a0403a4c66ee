"""A cloud is reached through the proxy that the environment names; nothing else is."""

from __future__ import annotations

import base64
import ssl

import pytest

from nexus_proxy.errors import ClockError, ConnectFailedError
from nexus_proxy.relay.connections.connect import Connector, Dialer
from nexus_proxy.relay.connections.proxy import Proxies
from tests.contract.upstream.asking import Asking, ask_once, opened
from tests.support.connect_proxy import ConnectProxy
from tests.support.tls_backend import Authority, TlsBackend


@pytest.fixture
def environ(authority: Authority, proxy: ConnectProxy) -> dict[str, str]:
    return {
        "SSL_CERT_FILE": str(authority.cafile),
        "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
    }


def to(port: int, environ: dict[str, str], *, is_cloud: bool = True) -> Connector:
    return Dialer(environ).connector("cloud", f"https://api.test:{port}", is_cloud=is_cloud)


async def test_a_cloud_is_reached_through_the_proxy_with_its_sessions_resumed(
    authority: Authority, version: ssl.TLSVersion, proxy: ConnectProxy, environ: dict[str, str]
) -> None:
    async with TlsBackend(authority.server_context("api.test", version=version)) as cloud:
        connector = to(cloud.port, environ)
        for _ in range(3):
            assert (await ask_once(connector)).endswith(b"ok")
        assert cloud.reused == [False, True, True]
        assert cloud.names == ["api.test"] * 3
        assert proxy.asked == [f"api.test:{cloud.port}"] * 3
        assert proxy.authorizations == [None] * 3


async def test_user_and_password_of_the_url_are_given_to_the_proxy_only(
    cloud: TlsBackend, proxy: ConnectProxy, environ: dict[str, str]
) -> None:
    environ["HTTPS_PROXY"] = f"http://me%40work:p%3Ass@127.0.0.1:{proxy.port}"
    assert (await ask_once(to(cloud.port, environ))).endswith(b"ok")
    assert proxy.authorizations == [base64.b64encode(b"me@work:p:ss").decode()]


async def test_a_proxy_behind_tls(
    authority: Authority, cloud: TlsBackend, environ: dict[str, str]
) -> None:
    async with ConnectProxy(authority.server_context("localhost")) as proxy:
        environ["HTTPS_PROXY"] = f"https://localhost:{proxy.port}"
        assert (await ask_once(to(cloud.port, environ))).endswith(b"ok")
        assert proxy.asked == [f"api.test:{cloud.port}"]


async def test_plain_http_goes_through_a_tunnel_too(proxy: ConnectProxy) -> None:
    async with ConnectProxy() as inner:  # any server will do that answers in its own words
        inner.answer = b"HTTP/1.1 200 OK\r\n\r\nok"
        environ = {"all_proxy": f"127.0.0.1:{proxy.port}"}
        url = f"http://api.test:{inner.port}"
        asking = await opened(Dialer(environ).connector("cloud", url, is_cloud=True))
        assert asking.transport is not None
        asking.transport.write(b"CONNECT x HTTP/1.1\r\n\r\n")
        assert (await asking.ask()).endswith(b"ok")
        assert proxy.asked == [f"api.test:{inner.port}"]


async def test_a_local_backend_never_goes_through_a_proxy(
    authority: Authority, proxy: ConnectProxy, environ: dict[str, str]
) -> None:
    async with TlsBackend(authority.server_context("localhost")) as backend:
        url = f"https://localhost:{backend.port}"
        for is_cloud in (False, True):  # a "cloud" on this machine is none either
            connector = Dialer(environ).connector("box", url, is_cloud=is_cloud)
            assert (await ask_once(connector)).endswith(b"ok")
    with pytest.raises(ConnectFailedError):
        await opened(to(backend.port, environ, is_cloud=False))
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n<html>", r"refused to connect to api\.test:\d+ .*403"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "502"),
        (b"HTTP/1.1 407 Who\r\n\r\n", "refused the user name and password .*407"),
        (b"SSH-2.0-OpenSSH\r\n", "did not answer as an HTTP proxy does"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, "did not answer as an HTTP proxy does"),
        (b"", "closed the connection without an answer"),
    ],
)
async def test_a_proxy_that_refuses_is_named_without_its_password(
    cloud: TlsBackend, proxy: ConnectProxy, environ: dict[str, str], answer: bytes, says: str
) -> None:
    environ["HTTPS_PROXY"] = f"http://me:sesame@127.0.0.1:{proxy.port}"
    proxy.answer = answer
    with pytest.raises(ConnectFailedError, match=says) as caught:
        await opened(to(cloud.port, environ))
    assert f"cloud could not be reached: the proxy 127.0.0.1:{proxy.port}" in str(caught.value)
    assert "sesame" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_proxy_that_wants_a_password_says_where_to_put_it(
    cloud: TlsBackend, proxy: ConnectProxy, environ: dict[str, str]
) -> None:
    proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    with pytest.raises(ConnectFailedError, match=r"HTTPS_PROXY.*http://user:password@"):
        await opened(to(cloud.port, environ))


async def test_a_dead_proxy_is_named_and_not_the_cloud(
    cloud: TlsBackend, proxy: ConnectProxy, environ: dict[str, str]
) -> None:
    environ["HTTPS_PROXY"] = "http://127.0.0.1:1"
    with pytest.raises(ConnectFailedError, match=r"the proxy 127\.0\.0\.1:1 .*Connection refused"):
        await opened(to(cloud.port, environ))


async def test_a_silent_proxy_costs_the_connect_clock(
    cloud: TlsBackend, proxy: ConnectProxy, environ: dict[str, str]
) -> None:
    proxy.silent = True
    with pytest.raises(ClockError, match="through the proxy"):
        await to(cloud.port, environ).connect(Asking, 0.2)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            "socks5h://me:sesame@localhost:1080",
            r"socks5h proxy \(localhost\).*HTTPS_PROXY.*NO_PROXY",
        ),
        ("http://localhost:sesame", "not the URL of a proxy"),
        ("http://", "names no host"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_an_error_that_says_what_to_do(
    value: str, says: str
) -> None:
    with pytest.raises(ConnectFailedError, match=says) as caught:
        await opened(to(443, {"ALL_PROXY": value}))
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"HTTPS_PROXY": "upper", "https_proxy": "lower"}, "lower"),
        ({"HTTPS_PROXY": "upper", "https_proxy": ""}, None),
        ({"ALL_PROXY": "socks5://all", "HTTPS_PROXY": "one"}, "one"),
        ({"http_proxy": "one"}, None),
        ({}, None),
    ],
)
def test_which_variable_counts(environ: dict[str, str], found: str | None) -> None:
    proxy = Proxies(environ).of("https", "api.test", 443)
    assert (proxy and proxy.host) == found


@pytest.mark.parametrize(
    ("no_proxy", "host", "excepted"),
    [
        ("*", "api.test", True),
        ("one.test, *", "api.test", True),
        ("api.test", "api.test", True),
        ("API.test", "api.test.", True),
        ("test", "api.test", True),
        (".test", "api.test", True),
        ("*.test", "api.test", True),
        ("est", "api.test", False),
        ("www.api.test", "api.test", False),
        ("api.test:443", "api.test", True),
        ("api.test:80", "api.test", False),
        ("one.test two.test\tapi.test", "api.test", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/99", "10.1.2.3", False),
        ("2.3", "10.1.2.3", False),
        ("2001:db8::1", "2001:db8:0::1", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]:443", "2001:db8::1", True),
        ("[2001:db8::1]:80", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8::1", True),
        (",, ,", "api.test", False),
    ],
)
def test_what_no_proxy_excepts(no_proxy: str, host: str, excepted: bool) -> None:
    proxies = Proxies({"HTTPS_PROXY": "http://one", "NO_PROXY": no_proxy})
    assert (proxies.of("https", host, 443) is None) is excepted
