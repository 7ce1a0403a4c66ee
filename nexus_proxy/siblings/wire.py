"""What workers say to each other: a question as a line of JSON, answers as frames of msgpack.

They talk on Unix sockets in a folder that only their user may enter, so nobody has to prove who he
is. A frame is its length in four bytes, one byte that says whether it is a value or a refusal, and
the value.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from nexus_proxy.errors import CommandError, ConfigError, NexusError, NotFoundError
from nexus_proxy.tasks import spawn

T = TypeVar("T")

LONGEST_QUESTION = 1 << 20
_LENGTH = struct.Struct("!I")
_VALUE, _REFUSAL = b"+", b"-"


class Question(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one worker asks another. Which of the other fields count depends on `what`.

    `changes` and `events` are answered for as long as they are listened to, the first time at
    once; `changes` tells no requests, so that nobody pays for telling them.
    """

    what: Literal[
        "snapshot",
        "tally",
        "total",
        "requests",
        "request",
        "cancel",
        "health",
        "lesson",
        "listings",
        "run",
        "follow",
        "running",
        "look",
        "changes",
        "events",
    ]
    id: str = ""
    limit: int = 0
    name: str = ""
    arguments: dict[str, Any] = {}


class SiblingAway(NexusError):
    """The other worker does not answer: it starts, stops, hangs or is gone."""

    status = 503
    type = "service_unavailable"
    code = "worker_away"


_REBUILT = {e.code: e for e in (CommandError, NotFoundError, ConfigError, SiblingAway)}


Answers = Callable[[Question], AsyncIterator[Any]]
"""Yields values that msgspec can encode. Raises `NexusError` to refuse."""


class Door:
    """The socket of one worker, on which its siblings ask."""

    def __init__(self, path: str, answers: Answers) -> None:
        self._path, self._answers = path, answers
        self._server: asyncio.Server | None = None
        self._visitors: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen, in place of the worker that sat here before."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._server = await asyncio.start_unix_server(
            self._visited, self._path, limit=LONGEST_QUESTION
        )

    async def close(self) -> None:
        """End all conversations. The last worker to go takes the folder along."""
        if self._server is None:
            return
        self._server.close()
        for visitor in self._visitors:
            visitor.cancel()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self._path))

    def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = spawn(self._talk(reader, writer), name="sibling asks")
        self._visitors.add(task)
        task.add_done_callback(self._visitors.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = msgspec.json.decode(await reader.readline(), type=Question)
            async for frame in _frames(self._answers(question)):
                writer.write(frame)
                await writer.drain()
        except (OSError, msgspec.DecodeError):
            return  # it has lost interest, or ended in the middle of its question
        finally:
            writer.close()


async def _frames(values: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    try:
        async for value in values:
            yield _frame(_VALUE, value)
    except NexusError as error:
        yield _frame(_REFUSAL, (error.code, error.message))


def _frame(kind: bytes, value: Any) -> bytes:
    body = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(body)) + kind + body


async def ask(path: str, question: Question, type_: type[T], *, seconds: float) -> T:
    """The answer of the worker at `path`. Raises `SiblingAway`, or what it refused with."""
    try:
        async with asyncio.timeout(seconds), contextlib.aclosing(listen(path, question)) as answers:
            body = await anext(answers)
    except TimeoutError:
        raise SiblingAway(f"no answer within {seconds:g} s") from None
    return msgspec.msgpack.decode(body, type=type_)


async def listen(path: str, question: Question) -> AsyncGenerator[bytes, None]:
    """All answers, encoded, until `SiblingAway` is raised or the listener closes it."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise SiblingAway(error.strerror or str(error)) from None
    try:
        writer.write(msgspec.json.encode(question) + b"\n")
        while True:
            head = await reader.readexactly(_LENGTH.size + 1)
            body = await reader.readexactly(*_LENGTH.unpack_from(head))
            if head[-1:] == _REFUSAL:
                code, message = msgspec.msgpack.decode(body)
                raise _REBUILT.get(code, NexusError)(message)
            yield body
    except (OSError, asyncio.IncompleteReadError) as error:
        raise SiblingAway(f"it ended the conversation ({type(error).__name__})") from None
    finally:
        writer.close()
