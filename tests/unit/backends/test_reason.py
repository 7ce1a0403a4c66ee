"""Why a connection failed, in words, and never in the library's own."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from nexus_proxy.backends.ask import reason


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


group = ExceptionGroup("all attempts failed", [OSError("odd"), ConnectionRefusedError(111, "x")])
CASES = [
    (caused(httpx.ConnectError("x"), group), "connection refused"),
    (caused(httpx.ConnectError("x"), socket.gaierror(-2, "x")), "host name not found"),
    (caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError("x")), "is not trusted"),
    (caused(httpx.ConnectError("x"), ssl.SSLError("x")), "try http://"),
    (httpx.ConnectError("x"), "not reachable"),
    (httpx.ConnectTimeout("x"), "attempt to connect"),
    (httpx.ReadTimeout("x"), "no answer in time"),
    (httpx.RemoteProtocolError("x"), "does not speak HTTP"),
    (httpx.ReadError("x"), "connection lost"),
]


@pytest.mark.parametrize(("error", "words"), CASES)
def test_reason_in_words(error: Exception, words: str) -> None:
    assert words in reason(error)


def test_reason_never_quotes_a_header() -> None:
    error = httpx.LocalProtocolError("Illegal header value b'Bearer sk-secret\\n'")
    assert "secret" not in reason(error)
