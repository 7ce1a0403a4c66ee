"""This gateway among its replicas: once a second, tell what it did and learn what the others did.

While the shared store is away, everything goes on by what is known here: budgets and limits are
this replica's own, drains and pins stay as they are. `problem` says so, and each second somebody
asks again. What was done meanwhile is told when it answers, and so is what it lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.replicas import acts, presence
from nexus_proxy.replicas.acts import Act
from nexus_proxy.store.machine import machine_id
from nexus_proxy.store.redis import ANSWER_SECONDS, SharedStore
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    from nexus_proxy.accounting.ledger import Ledger
    from nexus_proxy.admission.limits import Limits
    from nexus_proxy.config.model import Config
    from nexus_proxy.registry import Registry
    from nexus_proxy.siblings.seat import Seat
    from nexus_proxy.state import KeyView

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0


class Replicas:
    """The others that share a store. Without one there are none, and nothing is done."""

    def __init__(
        self,
        store: SharedStore | None,
        *,
        registry: Registry,
        ledger: Ledger,
        limits: Limits,
        seat: Seat,
    ) -> None:
        self._store, self._registry, self._seat = store, registry, seat
        self._ledger, self._limits = ledger, limits
        self._owner = f"{seat.node_id}-{seat.number}"
        self._machine = machine_id()
        self._acts: dict[str, str] = {}
        self._untold: dict[str, str] = {}
        self._heard: list[presence.Said] = []
        self._syncing: asyncio.Task[None] | None = None
        self._wake, self._synced = asyncio.Event(), asyncio.Event()

    @property
    def problem(self) -> str | None:
        """A sentence while the store does not answer."""
        return self._store.problem if self._store is not None else None

    @property
    def synced(self) -> bool:
        """Whether the store was asked at least once, whatever came of it."""
        return self._synced.is_set()

    @property
    def count(self) -> int | None:
        """How many gateways share the store, this one included; None: it shares none."""
        if self._store is None:
            return None
        return 1 + len({one.node_id for one in self._heard})

    async def start(self) -> None:
        """Learn how things stand, waiting `ANSWER_SECONDS` at most, and keep up from now on."""
        if self._store is None:
            return
        await self._store.open()
        self._syncing = spawn(self._keep_up(self._store), name="replicas")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._synced.wait()

    async def stop(self) -> None:
        """Say what is still to be said, and no more."""
        if self._syncing is not None:
            self._syncing.cancel()
        if self._store is not None:
            if self._store.problem is None:
                await asyncio.wait(
                    [spawn(self._sync(self._store), name="replicas end")],
                    timeout=ANSWER_SECONDS * 2,
                )
            await self._store.close()

    # -- what an operator does here ------------------------------------------------------------

    def did(self, verb: str, arguments: Mapping[str, Any]) -> None:
        """A verb was run here."""
        if self._store is not None:
            self._tell(acts.acts_of(verb, arguments, self._registry, self._machine))

    def reloaded(self, old: Config, new: Config) -> None:
        """The file was read again: what changed in it is told; what it does not know of stays."""
        if self._store is not None:
            self._tell(acts.reloaded(old, new, self._registry, self._machine))
            acts.apply(self._acts, self._registry, self._machine)

    def _tell(self, done: Iterable[Act]) -> None:
        if new := dict(done):
            self._acts.update(new)
            self._untold.update(new)
            self._wake.set()

    # -- what is used elsewhere ----------------------------------------------------------------

    def with_others(self, views: tuple[KeyView, ...]) -> tuple[KeyView, ...]:
        """API keys, with what they have used at other replicas."""
        if not self._heard:
            return views
        elsewhere = [one.keys for one in self._heard]
        return tuple(presence.added(view, elsewhere) for view in views)

    # -- inside --------------------------------------------------------------------------------

    async def _keep_up(self, store: SharedStore) -> None:
        while True:
            self._wake.clear()
            await self._sync(store)
            self._synced.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._wake.wait()

    async def _sync(self, store: SharedStore) -> None:
        try:
            await self._ledger.publish()
            await self._limits.tell()
            await self._present(store)
            if self._seat.is_lead:  # the other workers mirror it
                await self._share_acts(store)
        except StoreUnavailableError:
            self._heard = []

    async def _present(self, store: SharedStore) -> None:
        own = presence.said(self._seat.node_id, self._limits.used)
        blob = presence.ENCODE.encode(own).decode()
        told = await store.run(
            presence.PRESENT, presence.KEYS, (self._owner, blob, presence.LIFE_SECONDS), trying=True
        )
        heard = []
        for text in told:
            try:
                heard.append(presence.DECODE.decode(text))
            except msgspec.DecodeError:
                log.debug("another replica, of another version, says what makes no sense here")
        self._heard = presence.of_others(heard, self._seat.node_id)

    async def _share_acts(self, store: SharedStore) -> None:
        untold = dict(self._untold)
        arguments: list[object] = [acts.LONGEST_LIST]
        for act in untold.items():
            arguments += act
        flat = await store.run(acts.TELL, acts.KEYS, arguments, trying=True)
        shared = dict(zip(flat[::2], flat[1::2], strict=True))
        for field, value in untold.items():
            if self._untold.get(field) == value:
                del self._untold[field]
        lost = {field: value for field, value in self._acts.items() if field not in shared}
        self._untold = {**lost, **self._untold}
        self._acts = {**shared, **self._untold}
        acts.apply(self._acts, self._registry, self._machine)
