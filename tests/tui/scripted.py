"""A gateway in memory: shows what the test says, and remembers which verbs were run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from nexus_proxy.cli.talk import Answer, Message, Piece
from nexus_proxy.commands import Act, Result
from nexus_proxy.commands.settings import Draft
from nexus_proxy.config.settings import Setting
from nexus_proxy.errors import CommandError, NotFoundError
from nexus_proxy.state import Preview, RequestView, Sighting, Snapshot
from tests.support.sample_settings import sample_settings
from tests.support.sample_snapshot import DECISION
from tests.support.sample_snapshot import snapshot as sample


class ScriptedSource:
    """A `Source`. Set `shown` and call `change` to move it on."""

    title = "in process"

    def __init__(self, shown: Snapshot | None = None, *, attached: bool = False) -> None:
        self.shown = shown or sample()
        self.attached = attached
        self.read_only = False
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.questions: dict[str, str] = {}
        self.refusal: str | None = None
        self.inverse: Act | None = None
        """What would undo the verbs that are run."""
        self.answers = asyncio.Event()
        """Verbs wait for this; set from the start."""
        self.answers.set()
        self.configured: Sequence[Setting] = sample_settings()
        self.sighting: Sighting | None = None
        """What answers at any URL; None: nothing."""
        self.looked: list[str] = []
        self.snapshots = 0
        self.told: list[str] = []
        """Requests of which the whole story was asked."""
        self.first: dict[str, Preview] = {
            "qwen3:8b": Preview(first=(("ollama", "qwen3:8b"),)),
            "nomic-embed-text": Preview(first=(("ollama", "nomic-embed-text"),)),
            "gpt-5-mini": Preview(),
        }
        self.previewed: list[Sequence[str]] = []
        """Models of which was asked who would serve them."""
        self.says: list[Piece] = []
        """What a chat is answered with, once `answers` is set."""
        self.asked: list[Sequence[Message]] = []
        self._listeners: list[Callable[[], None]] = []

    def snapshot(self) -> Snapshot:
        self.snapshots += 1
        return self.shown

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(on_change)
        return lambda: self._listeners.remove(on_change)

    def revision(self) -> int:
        return 0

    async def story(self, request_id: str) -> RequestView:
        self.told.append(request_id)
        for view in self.shown.requests:
            if view.id == request_id:
                return msgspec.structs.replace(view, decision=DECISION)
        raise NotFoundError(f"no request {request_id!r}")

    async def previews(self, models: Sequence[str]) -> Mapping[str, Preview]:
        self.previewed.append(tuple(models))
        return {model: self.first[model] for model in models if model in self.first}

    def change(self, shown: Snapshot) -> None:
        """The gateway looks like this from now on."""
        self.shown = shown
        for listener in self._listeners:
            listener()

    async def consequence(self, name: str, arguments: Mapping[str, Any]) -> str | None:
        return self.questions.get(name)

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        await self.answers.wait()
        if self.refusal is not None:
            raise CommandError(self.refusal)
        self.ran.append((name, dict(arguments)))
        return Result(message=f"ran {name}", inverse=self.inverse)

    async def settings(self) -> Sequence[Setting]:
        return self.configured

    async def draft(self, key: str, value: str | None) -> Draft:
        if self.refusal is not None:
            raise CommandError(self.refusal)
        diff = (f"-{key} = 2", f"+{key} = {value}")
        return Draft(key=key, value=value, notes=("It takes effect later.",), diff=diff)

    async def look_at(self, url: str) -> Sighting:
        self.looked.append(url)
        await self.answers.wait()
        if self.sighting is None:
            raise CommandError(f"nothing is added: {url}: connection refused")
        return self.sighting

    async def chat(self, model: str, messages: Sequence[Message], answer: Answer) -> None:
        self.asked.append(messages)
        for piece in self.says:
            answer.add(piece)
        await self.answers.wait()
        if self.refusal is not None:
            raise CommandError(self.refusal)

    async def close(self) -> None:
        self._listeners.clear()
