"""`GET /` as a browser without JavaScript, and other programs, see it."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from nexus_proxy.tasks import spawn
from nexus_proxy.web.assets import POLICY, assets
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202etxt.exe",
    "{{ 7 * 7 }}",
    "m" * 300,
)


async def test_a_browser_gets_the_state_as_plain_tables() -> None:
    async with (
        ScriptedBackend(["qwen3:8b"], name="one") as backend,
        running_gateway([backend_entry("attic", backend.url)]) as gateway,
    ):
        await gateway.chat("qwen3:8b")
        page = await gateway.client.get("/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == POLICY
    assert page.headers["cache-control"] == "no-store"
    for word in (f"{gateway.url}/v1", "attic", "● up", "restricted", "qwen3:8b", "✓ done"):
        assert word in page.text
    assert "<small>on attic</small>" in page.text
    assert "Quality of the last 24 h" in page.text


async def test_who_waits_is_on_the_plain_page_too() -> None:
    async with (
        ScriptedBackend(["m"], name="one") as backend,
        running_gateway([backend_entry("attic", backend.url, max_concurrent=1)]) as gateway,
    ):
        backend.behave(Answer(hold_before="headers"))
        asking = [spawn(gateway.chat(), name="client") for _ in range(2)]
        await gateway.until(lambda: bool(gateway.runtime.admission.waiting()))
        page = await gateway.client.get("/", headers=BROWSER)
        backend.release()
        await asyncio.gather(*asking)
    assert "attic: its only slot is taken" in page.text
    assert "normal" in page.text


async def test_foreign_names_are_no_markup() -> None:
    async with (
        ScriptedBackend(HOSTILE) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        for model in HOSTILE:
            await gateway.chat(model)
        page = await gateway.client.get("/", headers=BROWSER)
    tags = Tags()
    tags.feed(page.text)
    assert "img" not in tags.seen
    assert tags.seen.count("script") == 1, "the page's own module"
    assert "{{ 7 * 7 }}" in page.text, "it was read as a template"
    assert "\u202e" not in page.text


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        names = {name for name, _ in attrs}
        assert not any(name.startswith("on") or name == "style" for name in names), attrs


async def test_head_works_and_other_programs_get_what_they_know() -> None:
    async with running_gateway() as gateway:
        head = await gateway.client.head("/", headers=BROWSER)
        json = await gateway.client.get("/", headers={"accept": "application/json"})
        ollama = await gateway.client.get("/")
        post = await gateway.client.post("/", headers=BROWSER)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 1000
    assert json.json()["name"] == "nexus"
    assert ollama.text == "Ollama is running"
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


async def test_the_files_are_typed_tagged_and_all_there() -> None:
    async with running_gateway() as gateway:
        page = (await gateway.client.get("/", headers=BROWSER)).text
        named = set(re.findall(r'(?:href|src)="(/[^"]+)"', page))
        assert len(named) == 3
        for path in [*named, *(f"/web/{name}" for name in assets())]:
            answer = await gateway.client.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["x-content-type-options"] == "nosniff"
            again = await gateway.client.get(
                path, headers={"if-none-match": answer.headers["etag"]}
            )
            assert (again.status_code, again.content) == (304, b"")
        missing: httpx.Response = await gateway.client.get("/web/page.html")
    assert missing.status_code == 404


@pytest.mark.parametrize("name", sorted(name for name in assets() if name.endswith(".js")))
def test_no_script_can_make_markup_of_text(name: str) -> None:
    """The policy forbids it at run time where the browser knows Trusted Types; this, everywhere."""
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    assert not re.search(sinks, assets()[name].body.decode())


def test_each_module_that_a_script_imports_is_a_file() -> None:
    for name, asset in assets().items():
        for imported in re.findall(r'from "\./([^"]+)"', asset.body.decode()):
            assert imported in assets(), f"{name} imports {imported}"


def test_the_files_lie_in_the_package() -> None:
    folder = Path(__file__).resolve().parents[3] / "nexus_proxy/web/static"
    assert set(assets()) == {path.name for path in folder.iterdir()}
