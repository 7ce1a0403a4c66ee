"""How a browser on another machine gets in: the management key, typed once, then a cookie."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.cookies import SimpleCookie

import httpx
import pytest

from nexus_proxy.api import session
from tests.contract.api.test_access import KEY, open_gateway

BROWSER = {"accept": "text/html"}
ENVIRON = {"MANAGEMENT": KEY}


async def enter(client: httpx.AsyncClient, key: str, **headers: str) -> httpx.Response:
    return await client.post("/web/enter", data={"key": key}, headers=headers)


async def test_without_the_key_there_is_only_a_form() -> None:
    async with open_gateway(ENVIRON, key_env="MANAGEMENT") as client:
        page = await client.get("/", headers=BROWSER)
    assert page.status_code == 401
    assert '<form class="panel" method="post" action="/web/enter">' in page.text
    assert "Backends" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_without_a_key_set_up_the_form_says_how_to_open_it() -> None:
    async with open_gateway({}, key_env=None) as client:
        page = await client.get("/", headers=BROWSER)
    assert page.status_code == 401
    assert "server.management_key_env" in page.text


async def test_the_key_opens_the_page_and_the_management_api() -> None:
    async with open_gateway(ENVIRON, key_env="MANAGEMENT") as client:
        entered = await enter(client, KEY)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        morsel = SimpleCookie(entered.headers["set-cookie"])[session.NAME]
        assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "Strict", "/")
        assert KEY not in entered.headers["set-cookie"]
        assert "Backends" in (await client.get("/", headers=BROWSER)).text
        assert (await client.get("/nexus/v1/state")).status_code == 200
        left = await client.post("/web/leave")
        assert left.status_code == 303
        assert (await client.get("/", headers=BROWSER)).status_code == 401


async def test_over_tls_the_cookie_stays_there() -> None:
    async with open_gateway(ENVIRON, key_env="MANAGEMENT") as client:
        entered = await enter(client, KEY, **{"x-forwarded-proto": "https"})
    assert SimpleCookie(entered.headers["set-cookie"])[session.NAME]["secure"] is True


async def test_a_wrong_key_opens_nothing_and_is_told_nowhere() -> None:
    async with open_gateway(ENVIRON, key_env="MANAGEMENT") as client:
        refused = await enter(client, "wrong-<b>key")
    assert refused.status_code == 401
    assert "set-cookie" not in refused.headers
    assert "that is not the key" in refused.text
    assert "wrong-" not in refused.text


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"),
        lambda value: "9" + value,
        lambda value: value.partition(".")[0],
        lambda value: session.cookie(b"another key", now=time.time()),
        lambda value: session.cookie(KEY.encode(), now=time.time() - session.SECONDS - 1),
        lambda value: "",
        lambda value: "\u00e9.\u00e9",
    ],
)
async def test_no_other_cookie_opens_anything(spoilt: Callable[[str], str]) -> None:
    value = spoilt(session.cookie(KEY.encode(), now=time.time()))
    cookie = f"{session.NAME}={value}".encode("latin-1")
    async with open_gateway(ENVIRON, key_env="MANAGEMENT") as client:
        answer = await client.get("/nexus/v1/state", headers=[(b"cookie", cookie)])
    assert answer.status_code == 401


async def test_its_own_page_may_ask_under_any_name_but_only_for_its_own() -> None:
    async with open_gateway(ENVIRON, key_env="MANAGEMENT") as client:
        own = {"host": "box.lan:8000", "origin": "http://box.lan:8000"}
        assert (await enter(client, KEY, **own)).status_code == 303
        assert (await client.get("/nexus/v1/state", headers=own)).status_code == 200
        rebound = await client.get("/v1/models", headers=own)
        assert rebound.status_code == 403, "a page whose name was rebound looks the same"
        for origin in ("http://evil.example", "null", "http://box.lan:8001"):
            foreign = {"host": "box.lan:8000", "origin": origin}
            assert (await enter(client, KEY, **foreign)).status_code == 403
