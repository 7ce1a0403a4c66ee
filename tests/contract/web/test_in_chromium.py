"""The dashboard in a real Chromium, over a real gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from nexus_proxy.tasks import spawn
from tests.contract.api.test_access import KEY, open_gateway
from tests.contract.web.test_page import HOSTILE
from tests.support import shelves
from tests.support.browser import Connection, Page, chromium, driven
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend, faults
from tests.support.shelves import Shelf

NAMES = (*HOSTILE, "👩‍👩‍👧‍👦 family", "e" + "\u0301" * 60, "עברית", "a b\n\tc")


@pytest.fixture(scope="module")
def devtools() -> Iterator[str]:
    with chromium() as address:
        yield address


@pytest.fixture
async def browser(devtools: str) -> AsyncIterator[Connection]:
    async with driven(devtools) as connection:
        yield connection


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["qwen3:8b"], name="one") as backend:
        yield backend


@pytest.fixture
async def gateway(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("one", backend.url)]) as gateway:
        yield gateway


async def opened(browser: Connection, gateway: RunningGateway, path: str = "/") -> Page:
    """The page, drawn by its script."""
    page = await browser.page()
    await page.open(gateway.url + path)
    await page.until("document.querySelector('.tiles') !== null")
    return page


def is_clean(page: Page, gateway: RunningGateway) -> bool:
    """Nothing was wrong, and nobody else was asked for anything."""
    assert page.errors == []
    assert page.hosts <= {urlsplit(gateway.url).netloc, ""}
    return True


async def test_a_request_is_seen_while_it_runs_and_tells_its_story_after(
    browser: Connection, gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    page = await opened(browser, gateway)
    await page.sees(f"{gateway.url}/v1", "all 1 up", "None yet.")
    backend.behave(Answer(hold_before=2))
    asking = spawn(gateway.chat("qwen3:8b", {"x-request-id": "mine"}, stream=True), name="asking")
    await page.sees("streaming", "running 1")
    backend.release()
    await asking
    await page.until("document.querySelector('.requests tbody').innerText.includes('done')")
    await page.click(".requests .plainly")
    await page.sees("Why it went there", "analyze", "Candidates, best first", "to the first token")
    assert await page.look("location.hash") == "#why/mine"
    await page.press("Escape")
    await page.until("document.querySelector('dialog') === null")
    assert await page.look("document.activeElement.className") == "plainly", "where one was"
    assert is_clean(page, gateway)


async def test_a_story_has_an_address(browser: Connection, gateway: RunningGateway) -> None:
    await gateway.chat("no-such-model", {"x-request-id": "lost"})
    page = await opened(browser, gateway, "/#why/lost")
    await page.sees("no-such-model", "What it came to")
    await page.look(
        "history.pushState(null, '', '/'), dispatchEvent(new PopStateEvent('popstate'))"
    )
    await page.until("document.querySelector('dialog') === null")
    await page.look("location.hash = '#why/never-heard-of'")
    await page.sees("never-heard-of")
    await page.until("document.querySelector('dialog').innerText.length > 30")


async def test_what_one_would_rather_look_at_is_drawn(browser: Connection) -> None:
    async with (
        ScriptedBackend(["gpt-4o"], name="cloud") as backend,
        running_gateway(
            [backend_entry("cloud", backend.url, type="openai", api_key_env="KEY")],
            environ={"KEY": "sk-0123456789"},
        ) as gateway,
    ):
        page = await browser.page()
        await page.resize(390, 844)
        await page.open(gateway.url)
        for stream in (True, False):
            assert (await gateway.chat("gpt-4o", stream=stream, max_tokens=9)).status_code == 200
        backend.behave(faults.status(400, "no"), times=1)
        assert (await gateway.chat("gpt-4o", max_tokens=9)).status_code == 400
        for drawn in (
            ".tile:nth-child(1) .stroke",
            ".tile:nth-child(1) .wrong",
            ".tile:nth-child(2) .stroke",
            ".tile:nth-child(3) .stroke",
            ".tile:nth-child(5) .some",
            ".card .lately .some",
            ".days g:last-of-type .column",
            ".shares .paid",
            ".sliver .wait",
        ):
            await page.until(f"document.querySelector('{drawn}')?.getBoundingClientRect().width")
        assert await page.look("document.documentElement.scrollWidth") == 390
        assert is_clean(page, gateway)


async def test_foreign_names_are_text_and_break_nothing(browser: Connection) -> None:
    async with (
        ScriptedBackend(NAMES) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        for name in NAMES:
            await gateway.chat(name)
        backend.behave(faults.status(500, HOSTILE[1]), times=9)
        await gateway.chat(NAMES[0])
        page = await opened(browser, gateway)
        await page.resize(360, 740)
        await page.sees(NAMES[0], HOSTILE[1], "{{ 7 * 7 }}")
        await page.look(
            "[...document.querySelectorAll('.requests tr')]"
            ".find((row) => row.innerText.includes('done')).querySelector('.plainly').click()"
        )
        await page.sees("Why it went there")
        assert await page.look("document.querySelectorAll('img, body script').length") == 0
        assert "\u202e" not in await page.text()
        assert await page.look("document.documentElement.scrollWidth") == 360
        assert is_clean(page, gateway)


@pytest.mark.parametrize(
    ("width", "scheme"), [(320, "dark"), (360, "light"), (820, "light"), (1440, "dark")]
)
async def test_it_fits_every_width_and_can_be_read(
    browser: Connection, gateway: RunningGateway, width: int, scheme: str
) -> None:
    await gateway.chat("qwen3:8b")
    page = await browser.page()
    await page.resize(width, 800)
    await page.prefer(color_scheme=scheme, reduced_motion="reduce")
    await page.open(gateway.url)
    await page.until("document.querySelector('.requests tbody tr') !== null")
    assert await page.look("document.documentElement.scrollWidth") <= width
    assert await page.look("document.getAnimations().length") == 0
    assert await page.look(f"({LEAST_CONTRAST})()") >= 4.5


SIDEWAYS = """[...document.querySelectorAll("*")].filter((node) =>
  node.scrollWidth > node.clientWidth + 1
  && ["auto", "scroll"].includes(getComputedStyle(node).overflowX)
).map((node) => node.className)"""
"""What has to be pushed aside to be read."""


async def test_many_models_and_backends_are_read_without_pushing_sideways(
    browser: Connection,
) -> None:
    models = [f"acme/a-model-{n:02}" for n in range(30)]
    gone = [backend_entry(f"gone-{n}", f"http://127.0.0.1:{n + 1}") for n in range(9)]
    async with (
        ScriptedBackend([{"id": id_, "max_model_len": 32768} for id_ in models]) as box,
        running_gateway(
            [backend_entry("a-box-that-is-up", box.url), *gone], wait_up=False
        ) as gateway,
    ):
        page = await browser.page()
        await page.resize(390, 844)
        await page.open(gateway.url)
        await page.sees(models[24], "a-box-that-is-up", "32k", "3 more")
        assert await page.look(SIDEWAYS) == []
        assert await page.look("document.querySelector('.rows .name').innerText") == "gone-0"
        assert models[25] not in await page.text()
        await page.look("document.querySelector('[aria-label=\"Filter the models\"]').focus()")
        await page.type("MODEL-29")
        await page.sees(models[29])
        assert models[24] not in await page.text()
        await page.look("[...document.querySelectorAll('.rows summary')].at(-1).focus()")
        await page.press("Enter")
        await page.click("[open] [aria-label='Drain a-box-that-is-up']")
        await page.sees("Drain a-box-that-is-up?")
        await page.press("Enter")
        await page.resize(1440, 900)
        await page.until("document.querySelector('.matrix') !== null")
        assert await page.look(SIDEWAYS) == []
        assert is_clean(page, gateway)


LEAST_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const shine = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] > 200) return colour;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  let least = 21;
  const root = document.getElementById("dashboard");
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim()) continue;
    if (!node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest("svg, [aria-hidden]")) continue;
    const [one, other] = [shine(rgb(getComputedStyle(node).color)), shine(ground(node))];
    least = Math.min(least, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05));
  }
  return least;
}"""
"""The least contrast of text with what is behind it, by the formula of WCAG 2.2."""


async def test_without_javascript_the_plain_page_can_be_read(
    browser: Connection, gateway: RunningGateway
) -> None:
    await gateway.chat("qwen3:8b")
    page = await browser.page()
    await page.resize(360, 740)
    await page.call("Emulation.setScriptExecutionDisabled", value=True)
    await page.open(gateway.url)
    told = await page.call("DOMSnapshot.captureSnapshot", computedStyles=["visibility"])
    texts = {told["strings"][n] for n in told["documents"][0]["layout"]["text"] if n >= 0}
    for word in ("Backends", "one", "● up", "qwen3:8b", "✓ done"):
        assert any(word in text for text in texts), (word, texts)
    metrics = await page.call("Page.getLayoutMetrics")
    assert metrics["cssContentSize"]["width"] == 360
    assert is_clean(page, gateway)


async def test_it_comes_back_after_the_gateway_was_restarted(
    browser: Connection, backend: ScriptedBackend
) -> None:
    async with running_gateway([backend_entry("one", backend.url)]) as gateway:
        page = await opened(browser, gateway)
        port = urlsplit(gateway.url).port
        assert port is not None
    await page.sees("not connected", "No connection to the gateway", "one")
    async with running_gateway([backend_entry("another", backend.url)], port=port):
        await page.sees("live, up", "another")
        assert "No connection" not in await page.text()


async def test_an_act_asks_first_and_is_told(browser: Connection, gateway: RunningGateway) -> None:
    page = await opened(browser, gateway)
    await page.click("[aria-label='Drain one']")
    await page.sees("Drain one?", "nobody else serves qwen3:8b")
    assert await page.look("document.activeElement.innerText") == "Cancel"
    await page.press("Enter")
    await page.until("document.querySelector('dialog') === null")
    assert not gateway.runtime.registry.get("one").drained
    await page.click("[aria-label='Drain one']")
    await page.click("dialog .primary")
    await page.sees("one drains", "draining")
    assert gateway.runtime.registry.get("one").drained
    await page.click("[aria-label='Pin qwen3:8b on one']")
    await page.click("dialog .primary")
    await page.until("document.querySelector('.pin').getAttribute('aria-pressed') === 'true'")
    await page.click(".switch")
    await page.click("dialog .primary")
    await page.sees("No cloud")
    assert gateway.runtime.registry.airplane
    assert is_clean(page, gateway)


async def test_a_model_is_loaded_and_one_sees_how_far_it_is(browser: Connection) -> None:
    shelf = Shelf("m")
    async with (
        shelves.ollama(shelf) as box,
        running_gateway([backend_entry("box", box.url, type="ollama")]) as gateway,
    ):
        gateway.runtime.lifecycle.times.learn("box", "m", 60.0)
        shelf.open.clear()
        page = await opened(browser, gateway)
        await page.click("[aria-label='load m on box']")
        await page.click("dialog .primary")
        await page.sees("Loading and unloading", "usually 1 m 00 s")
        bar = "document.querySelector('.rejections .share .fine')"
        await page.until(f"{bar}?.getBoundingClientRect().width > 0")
        shelf.open.set()
        await page.until("document.querySelector('[aria-label=\"unload m on box\"]') !== null")
        await page.until(f"{bar} === null")
        assert is_clean(page, gateway)


async def test_the_filter_and_the_choices_narrow_the_list(
    browser: Connection, gateway: RunningGateway
) -> None:
    await gateway.chat("qwen3:8b")
    await gateway.chat("no-such-model")
    page = await opened(browser, gateway)
    rows = "document.querySelectorAll('.requests tbody tr').length"
    await page.until(f"{rows} === 2")
    await page.press("/")
    await page.type("QWEN")
    await page.until(f"{rows} === 1")
    assert await page.look("document.getElementById('filter').value") == "QWEN"
    await page.look("[...document.querySelectorAll('.choices button')][2].click()")
    await page.sees("No request fits that.")


async def test_a_stranger_types_the_key_and_is_live(browser: Connection) -> None:
    async with open_gateway({"MANAGEMENT": KEY}, key_env="MANAGEMENT") as client:
        page = await browser.page()
        through_a_proxy = {"X-Forwarded-For": "203.0.113.9"}
        await page.call("Network.enable")
        await page.call("Network.setExtraHTTPHeaders", headers=through_a_proxy)
        await page.open(str(client.base_url))
        await page.sees("Management key")
        await page.type("wrong")
        await page.press("Enter")
        await page.sees("that is not the key")
        await page.type(KEY)
        await page.press("Enter")
        await page.sees("No backend yet", "live, up")
        assert KEY not in json.dumps(await page.look("[location.href, document.cookie]"))
