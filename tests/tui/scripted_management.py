"""A management API on a real socket that says what the test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from nexus_proxy.state import Snapshot
from tests.support.sample_snapshot import snapshot

Answer = tuple[int, Any]


class ScriptedManagement:
    """Serves `shown` as the state to somebody with `access`; `answers` by path go before what it
    would say by itself."""

    def __init__(self) -> None:
        self.shown: Snapshot = snapshot()
        self.access = "full"
        self.answers: dict[str, Answer] = {}
        self.posted: list[tuple[str, Any]] = []
        self.keys: set[str | None] = set()
        self.listeners: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all event streams and refuse connections."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self.listeners):
            writer.close()
        await self._server.wait_closed()

    async def publish(self, type_: str = "BackendChanged") -> None:
        """Send an event to everybody who listens."""
        for writer in self.listeners:
            writer.write(f'data: {{"type": "{type_}"}}\n\n'.encode())
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            headers = dict(
                line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
            )
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.keys.add(headers.get("authorization"))
            if method == "POST":
                self.posted.append((path, json.loads(body)))
            if path == "/nexus/v1/events" and path not in self.answers:
                await self._stream(reader, writer)
            else:
                self._answer(writer, path)
        writer.close()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n")
        self.listeners.add(writer)
        try:
            await reader.read()
        finally:
            self.listeners.discard(writer)

    def _answer(self, writer: asyncio.StreamWriter, path: str) -> None:
        own: Answer = (200, {"message": f"ran {path}", "data": {"n": 1}})
        if path == "/nexus/v1/state":
            own = (200, msgspec.json.encode(self.shown))
        elif path.endswith("/consequence"):
            own = (200, {"question": "Really?"})
        status, body = self.answers.get(path, own)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n"
            f"X-Nexus-Access: {self.access}\r\n\r\n"
        )
        writer.write(head.encode() + sent)


@asynccontextmanager
async def scripted_management() -> AsyncIterator[ScriptedManagement]:
    management = ScriptedManagement()
    await management.start()
    try:
        yield management
    finally:
        await management.stop()
