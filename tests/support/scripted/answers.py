"""A healthy answer on the wire, and every way in which one that has begun can break off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from tests.support.scripted.payloads import Content, sse
from tests.support.scripted.wire import Exchange, encode

SSE_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache"}
COMMENT = b": keepalive\n\n"
COMMENT_PAUSE = 0.01
MID_STREAM_ERROR = {"error": {"code": 500, "message": "it broke", "type": "server_error"}}


class Cut(Enum):
    """How an answer breaks off."""

    CLEAN_EOF = auto()
    """The body ends as if it were whole."""
    MID_EVENT = auto()
    """The same, inside of an event."""
    MID_CHUNK = auto()
    """The connection is closed inside of an HTTP chunk."""
    CLOSE = auto()
    """The connection is closed between two HTTP chunks, without the last one."""
    RESET = auto()
    """RST instead of FIN."""
    STALL = auto()
    """Nothing more comes, and the connection stays."""
    COMMENTS = auto()
    """Only comments come, for ever."""
    ERROR_EVENT = auto()
    """An event with an error in it, then the clean end of the body."""


class Framing(Enum):
    """How the events of a stream are put on the wire."""

    PER_EVENT = auto()
    PER_BYTE = auto()
    """An HTTP chunk for every byte."""
    TOGETHER = auto()
    """All in one HTTP chunk and one write, as if it were one event."""
    UNTIL_CLOSE = auto()
    """No chunks: the end of the connection is the end of the body, as in HTTP/1.0."""


@dataclass(frozen=True, kw_only=True)
class Answer(Content):
    """A behaviour: answer a chat, completion or embedding request correctly, unless told
    otherwise. Events are counted from 0, without `comments`; event 0 of a chat tells the role."""

    comments: int = 0
    """Comments before the first event."""
    newline: bytes = b"\n"
    framing: Framing = Framing.PER_EVENT
    hold_before: Literal["headers"] | int | None = None
    """Wait for `ScriptedBackend.release()` before the headers or before this event. An answer
    that is no stream waits before its headers in any case."""
    cut: Cut | None = None
    after: int = 2
    """How many events come before `cut`. An answer that is no stream breaks off half-way."""

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.request.streams:
            await self._send_stream(exchange)
        else:
            await self._send_whole(exchange)

    async def _send_whole(self, exchange: Exchange) -> None:
        if self.hold_before is not None:
            await exchange.held()
        body = encode(self.whole(exchange.request, exchange.name))
        if self.cut is None:
            await exchange.respond(200, body, "application/json")
            return
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        await exchange.write(exchange.head(200, headers) + body[: len(body) // 2])
        if self.cut is Cut.STALL:
            await exchange.silence()
        elif self.cut is Cut.RESET:
            exchange.reset()
        else:
            exchange.close()

    async def _send_stream(self, exchange: Exchange) -> None:
        if self.hold_before == "headers":
            await exchange.held()
        await exchange.write(exchange.head(200, {**SSE_HEADERS, **self._framing_header()}))
        for _ in range(self.comments):
            await self._send(exchange, COMMENT)
        for number, event in enumerate(self._paced(exchange)):
            if number == self.hold_before:
                await exchange.held()
            if self.cut is not None and number == self.after:
                await self._break_off(exchange, event)
                return
            await self._send(exchange, event)
        if self.cut is not None:
            raise ValueError(f"the answer was over before event {self.after}")
        await self._end(exchange)

    def _paced(self, exchange: Exchange) -> Iterator[bytes]:
        events = self.events(exchange.request, exchange.name)
        return iter([b"".join(events)]) if self.framing is Framing.TOGETHER else events

    def _framing_header(self) -> dict[str, str]:
        if self.framing is Framing.UNTIL_CLOSE:
            return {"connection": "close"}
        return {"transfer-encoding": "chunked"}

    async def _send(self, exchange: Exchange, event: bytes) -> None:
        event = event.replace(b"\n", self.newline)
        if self.framing is Framing.UNTIL_CLOSE:
            await exchange.write(event)
        elif self.framing is Framing.PER_BYTE:
            for byte in event:
                await exchange.chunk(bytes([byte]))
        else:
            await exchange.chunk(event)

    async def _end(self, exchange: Exchange) -> None:
        if self.framing is Framing.UNTIL_CLOSE:
            exchange.close()
        else:
            await exchange.write(b"0\r\n\r\n")

    async def _break_off(self, exchange: Exchange, event: bytes) -> None:
        half = event[: len(event) // 2]
        match self.cut:
            case Cut.CLEAN_EOF:
                await self._end(exchange)
            case Cut.MID_EVENT:
                await self._send(exchange, half)
                await self._end(exchange)
            case Cut.MID_CHUNK:
                await exchange.write(b"%x\r\n%b" % (len(event), half))
                exchange.close()
            case Cut.CLOSE:
                exchange.close()
            case Cut.RESET:
                exchange.reset()
            case Cut.STALL:
                await exchange.silence()
            case Cut.COMMENTS:
                while True:
                    await self._send(exchange, COMMENT)
                    await asyncio.sleep(COMMENT_PAUSE)
            case Cut.ERROR_EVENT:
                await self._send(exchange, sse(MID_STREAM_ERROR))
                await self._end(exchange)
