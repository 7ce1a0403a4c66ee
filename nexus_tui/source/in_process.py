"""The gateway in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nexus_proxy.cli.client import KEY_VARIABLE
from nexus_proxy.cli.talk import Answer, Message, talk_at
from nexus_proxy.commands import Result
from nexus_proxy.commands.settings import Draft, draft
from nexus_proxy.config.settings import Setting, settings
from nexus_proxy.errors import CommandError, NexusError
from nexus_proxy.events import CHANGE_EVENTS
from nexus_proxy.state import Preview, RequestView, Sighting, Snapshot

if TYPE_CHECKING:
    from nexus_proxy.runtime import Runtime

log = logging.getLogger(__name__)


class RuntimeSource:
    """The gateway in this process."""

    title = "in process"
    attached = False
    read_only = False

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def snapshot(self) -> Snapshot:
        return self._runtime.snapshot()

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        # An event for each step of each request would cost the requests more than the screen does.
        return self._runtime.bus.subscribe(lambda _event: on_change(), *CHANGE_EVENTS)

    def revision(self) -> int:
        return self._runtime.history.revision

    async def story(self, request_id: str) -> RequestView:
        return self._runtime.history.get(request_id)

    async def previews(self, models: Sequence[str]) -> Mapping[str, Preview]:
        from nexus_proxy.relay.dry_run import previews

        return await previews(models, self._runtime.registry, self._runtime.relay)

    async def consequence(self, name: str, arguments: Mapping[str, Any]) -> str | None:
        return self._runtime.consequence(name, arguments)

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        try:
            return await self._runtime.run_command(name, arguments)
        except NexusError:
            raise
        except Exception as error:  # a bug in one verb must not take the screen down
            log.exception("%s failed", name)
            raise CommandError(f"{name} failed: {error!r}. Details are in the log.") from error

    async def settings(self) -> Sequence[Setting]:
        return settings(self._runtime.loaded)

    async def draft(self, key: str, value: str | None) -> Draft:
        return draft(self._runtime, key, value)

    async def look_at(self, url: str) -> Sighting:
        return await self._runtime.discovery.look_at(url)

    async def chat(self, model: str, messages: Sequence[Message], answer: Answer) -> None:
        key = os.environ.get(KEY_VARIABLE)
        await talk_at(self._runtime.endpoint, key, model, messages, answer)

    async def close(self) -> None:
        """Nothing to close: the runtime belongs to who started it."""
