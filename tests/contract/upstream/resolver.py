"""Event loops whose resolver a test writes. Everything else of them is as it is."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvloop

from tests.conftest import end_if_out_of_time

Answer = list[tuple[str, int]] | OSError
"""Addresses with their ports (which a real resolver would not change), or why there are none."""
SILENCE: Answer = []


class Resolver:
    """Attributes: `answers` of each name in turn, the last one for ever; `asked`, names in order;
    `gate`, cleared while no answer is to come."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def look_up(self, host: str) -> list[Any]:
        self.asked.append(host)
        await self.gate.wait()
        answers = self.answers[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        if answer is SILENCE:
            await asyncio.Event().wait()
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port),
            )
            for address, port in answer
        ]


class Scripted:
    """A loop with a `resolver`."""

    def __init__(self) -> None:
        super().__init__()
        self.resolver = Resolver()

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        if host in self.resolver.answers:
            return await self.resolver.look_up(host)
        return await super().getaddrinfo(host, port, **options)  # type: ignore[misc]


class UvloopLoop(Scripted, uvloop.Loop):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(end_if_out_of_time)


class AsyncioLoop(Scripted, asyncio.SelectorEventLoop):
    pass
