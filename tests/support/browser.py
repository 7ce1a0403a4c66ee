"""A real Chromium, driven over its DevTools protocol, looked at as a person would.

It is the machine's own (`apt-get install chromium`), since no package carries one; where there is
none, the tests that need it fail and say so.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from nexus_proxy.tasks import spawn

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
)
PATIENCE = 25.0
_GLANCE = 0.03
_LISTENING = re.compile(rb"DevTools listening on (ws://\S+)")


class BrowserMissingError(RuntimeError):
    """No Chromium is installed."""


class NavigatedError(RuntimeError):
    """The page went elsewhere while it was asked."""


@dataclass
class Page:
    """One tab. `errors` are what the console was told of errors, policies that were violated and
    exceptions; `hosts` are all that it asked for anything."""

    connection: Connection
    session: str
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        return await self.connection.call(method, params, self.session)

    async def open(self, url: str) -> None:
        """Go there; returns when the page is loaded."""
        loaded = self.connection.expect("Page.loadEventFired", self.session)
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE):
            await loaded

    async def look(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in told:
            raise AssertionError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true, and return it. Fails with what is on the page."""
        for _ in range(int(PATIENCE / _GLANCE)):
            with suppress(NavigatedError):  # another page comes: look at that one
                if value := await self.look(expression):
                    return value
            await asyncio.sleep(_GLANCE)
        raise AssertionError(f"not so: {expression}\n{self.errors}\n{await self.text()}")

    async def sees(self, *words: str) -> None:
        """Wait until all of these are on the page."""
        for word in words:
            await self.until(f"document.body?.innerText.includes({json.dumps(word)})")

    async def text(self) -> str:
        """All that can be read."""
        return str(await self.look("document.body?.innerText"))

    async def click(self, selector: str) -> None:
        """Point at the first that matches, once it is there, and press."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"{found} !== null")
        x, y = await self.look(
            f"(() => {{ {found}.scrollIntoView({{ block: 'center', behavior: 'instant' }});"
            f" const {{ x, y, width, height }} = {found}.getBoundingClientRect();"
            " return [x + width / 2, y + height / 2]; })()"
        )
        for type_ in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=type_, x=x, y=y, button="left", clickCount=1
            )

    async def press(self, key: str) -> None:
        """One key on the keyboard."""
        text = {"text": key} if len(key) == 1 else {}
        code = {"Enter": 13, "Tab": 9, "Escape": 27}.get(key)
        more = {} if code is None else {"windowsVirtualKeyCode": code}
        if key == "Enter":
            text = {"text": "\r"}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **more)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **more)

    async def type(self, text: str) -> None:
        """Write into the field that has the focus, once there is one."""
        await self.until("document.activeElement?.matches('input, textarea')")
        await self.call("Input.insertText", text=text)

    async def resize(self, width: int, height: int, *, scale: float = 1) -> None:
        """As large as a desktop's window, or a phone."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    async def prefer(self, **features: str) -> None:
        """Media features: `color_scheme="dark"`, `reduced_motion="reduce"`."""
        wanted = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in features.items()
        ]
        await self.call("Emulation.setEmulatedMedia", features=wanted)

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of what is to be seen; `whole`: of all of the page."""
        told = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """Keep what an event of the protocol says."""
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:2000])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(json.dumps(params["args"])[:2000])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.hosts.add(urlsplit(params["request"]["url"]).netloc)
        elif method == "Network.webSocketCreated":
            self.hosts.add(urlsplit(params["url"]).netloc)


class Connection:
    """The DevTools protocol over one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._expected: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._pages: dict[str, Page] = {}
        self._contexts: list[str] = []

    async def call(
        self, method: str, params: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        """Send a command and wait for its result."""
        number = len(self._asked)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        await self._socket.send(json.dumps(message))
        async with asyncio.timeout(PATIENCE):
            result: dict[str, Any] = await answer
        return result

    def expect(self, method: str, session: str) -> asyncio.Future[None]:
        """Done at the next event of this kind."""
        future = self._expected[method, session] = asyncio.get_running_loop().create_future()
        return future

    async def page(self) -> Page:
        """A new tab with no cookies of another one."""
        context = (await self.call("Target.createBrowserContext", {}))["browserContextId"]
        self._contexts.append(context)
        target = await self.call(
            "Target.createTarget", {"url": "about:blank", "browserContextId": context}
        )
        attached = await self.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        page = Page(self, attached["sessionId"])
        self._pages[page.session] = page
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        return page

    async def close(self) -> None:
        """Close all tabs."""
        for context in self._contexts:
            await self.call("Target.disposeBrowserContext", {"browserContextId": context})

    async def read(self) -> None:
        """Hand on what the browser says, until it ends."""
        async for text in self._socket:
            message = json.loads(text)
            if (number := message.get("id")) is not None:
                answer = self._asked[number]
                if "error" in message:
                    told = str(message["error"])
                    kind = NavigatedError if "navigated" in told else RuntimeError
                    answer.set_exception(kind(told))
                else:
                    answer.set_result(message["result"])
                continue
            method, session = message["method"], message.get("sessionId", "")
            if page := self._pages.get(session):
                page.heard(method, message["params"])
            if expected := self._expected.pop((method, session), None):
                expected.set_result(None)


@contextmanager
def chromium() -> Iterator[str]:
    """A headless Chromium with a profile of its own. Yields the address of its DevTools."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise BrowserMissingError(
            "the tests of the dashboard need a real Chromium: apt-get install chromium"
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            yield _address(process)
        finally:
            process.kill()
            process.communicate()


@asynccontextmanager
async def driven(address: str) -> AsyncIterator[Connection]:
    """Drive the Chromium whose DevTools are there; its tabs are closed at the end."""
    async with connect(address, max_size=None, proxy=None) as socket:
        connection = Connection(socket)
        reading = spawn(connection.read(), name="browser")
        try:
            yield connection
            await connection.close()
        finally:
            reading.cancel()


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if found := _LISTENING.search(line):
            return found[1].decode()
    raise BrowserMissingError(f"Chromium did not start: {said.decode(errors='replace')[-2000:]}")
