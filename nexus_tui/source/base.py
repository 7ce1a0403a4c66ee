"""What the screen wants of a gateway, wherever that runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from nexus_proxy.cli.talk import Answer, Message
from nexus_proxy.commands import Result
from nexus_proxy.commands.settings import Draft
from nexus_proxy.config.settings import Setting
from nexus_proxy.state import Preview, RequestView, Sighting, Snapshot


class Source(Protocol):
    """All that the UI knows of a gateway.

    `title` says where it runs. `attached` gateways live on when the UI leaves. `read_only` ones
    take no verbs.
    """

    @property
    def title(self) -> str: ...

    @property
    def attached(self) -> bool: ...

    @property
    def read_only(self) -> bool: ...

    def snapshot(self) -> Snapshot:
        """The gateway now. Cheap, and never waits."""
        ...

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call `on_change` on any event from now on. Returns the call that ends it."""
        ...

    def revision(self) -> int:
        """Grows with what happens to requests, as far as `on_change` is not told of it."""
        ...

    async def story(self, request_id: str) -> RequestView:
        """All of one request, also what a snapshot leaves out. Raises `NexusError`."""
        ...

    async def previews(self, models: Sequence[str]) -> Mapping[str, Preview]:
        """Who would serve each of these models now. Raises `NexusError`."""
        ...

    def consequence(self, name: str, arguments: Mapping[str, Any]) -> Awaitable[str | None]:
        """The question to ask before the verb runs, or None. Raises `NexusError`."""
        ...

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Run a verb. Raises `NexusError` with the reason."""
        ...

    async def settings(self) -> Sequence[Setting]:
        """The configuration in force, key by key. Raises `NexusError`."""
        ...

    async def draft(self, key: str, value: str | None) -> Draft:
        """What setting a key of the file, or removing it (None), comes to. Raises `NexusError`."""
        ...

    async def look_at(self, url: str) -> Sighting:
        """What answers at a URL that is not listed yet. Raises `NexusError`."""
        ...

    async def chat(self, model: str, messages: Sequence[Message], answer: Answer) -> None:
        """Ask the gateway as a tool would; `answer` fills while it comes. Raises `NexusError`."""
        ...

    async def close(self) -> None: ...
