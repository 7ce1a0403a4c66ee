"""The store that replicas share: a Redis or Valkey server, asked by scripts, which it runs whole.

It may go away at any time, and no request waits for that: an answer has `ANSWER_SECONDS`, and after
one that did not come nobody asks again but `Replicas`, once a second, until it answers. What every
script does may be done twice.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from nexus_proxy.errors import StoreUnavailableError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

    from nexus_proxy.config.model import StateConfig

log = logging.getLogger(__name__)

ANSWER_SECONDS = 0.5
CONNECTIONS = 8
"""Most at a time; who finds none free waits for one."""
CLIENT = "redis.asyncio"


class Script(NamedTuple):
    """What the server does in one go. `lua` sees `KEYS` and `ARGV`."""

    name: str
    lua: str


HELLO = Script("hello", "return redis.call('TIME')[1]")
"""Whether it answers and lets us in."""


class SharedStore:
    """One server. `open` before the first question.

    Attributes:
        problem: a sentence while it does not answer, else None.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        parts = urlsplit(url)
        self.place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        """Where it is, without what lets us in."""
        self.problem: str | None = None
        self._url, self._password = url, password
        self._client: Redis | None = None
        self._scripts: dict[str, AsyncScript] = {}

    async def open(self) -> None:
        """Get ready to ask. Connects to nobody yet."""
        redis = await asyncio.to_thread(importlib.import_module, CLIENT)
        pool = redis.BlockingConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            decode_responses=True,
            client_name="nexus",
            password=self._password,
        )
        self._client = redis.Redis(connection_pool=pool, retry=None)

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Any], *, trying: bool = False
    ) -> Any:
        """What the script returns. `trying`: ask although it did not answer last time.

        Raises `StoreUnavailableError`.
        """
        if self._client is None or (self.problem is not None and not trying):
            raise StoreUnavailableError(self.problem or "the shared state is not open yet")
        from redis.exceptions import RedisError

        known = self._scripts.get(script.name)
        if known is None:
            known = self._scripts[script.name] = self._client.register_script(script.lua)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await known(keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._note(error)
            raise StoreUnavailableError(self.problem or "") from None
        if self.problem is not None:
            self.problem = None
            log.info("the shared state at %s answers again", self.place)
        return answer

    async def close(self) -> None:
        """Ask nothing more."""
        if self._client is not None:
            await self._client.connection_pool.disconnect()
            self._client = None

    def _note(self, error: Exception) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, TimeoutError) or "imeout" in reason:
            reason = f"no answer within {ANSWER_SECONDS:g} s"
        is_new = self.problem is None
        self.problem = (
            f"the shared state at {self.place} is away ({reason}): until it answers, this replica "
            "keeps budgets, limits, drains and pins by itself (state.url)"
        )
        if is_new:
            log.warning(self.problem)


def shared_store(config: StateConfig, environ: Mapping[str, str]) -> SharedStore | None:
    """Where replicas share what they know, if they do."""
    if config.url is None:
        return None
    variable = config.password_env
    return SharedStore(config.url, environ.get(variable) if variable else None)
