"""Discovery: takes what sources report, verifies it, and keeps the list of backends in step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from nexus_proxy.backends.address import canonical, normalise
from nexus_proxy.backends.fingerprint import NotABackend
from nexus_proxy.config.model import BackendType, Config, DiscoveryConfig, Zone
from nexus_proxy.discovery.base import DiscoverySource, Found
from nexus_proxy.discovery.cloud_env import CloudEnv
from nexus_proxy.discovery.environment import PROVIDERS
from nexus_proxy.discovery.identify import Identity, ItIsUs, identify
from nexus_proxy.discovery.listing import checked_name, listed
from nexus_proxy.discovery.local_ports import LocalPorts
from nexus_proxy.discovery.mdns import MdnsBrowser
from nexus_proxy.discovery.sighting import sighting
from nexus_proxy.discovery.static import Configured
from nexus_proxy.discovery.twins import twin_of
from nexus_proxy.discovery.zones import zone_of
from nexus_proxy.errors import CommandError
from nexus_proxy.events import BackendAdded, BackendRemoved, Bus, DiscoveryNoted, Event
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import Sighting, Source
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    import httpx

FIRST_RETRY_SECONDS = 2.0
LAST_RETRY_SECONDS = 120.0
"""What was reported and is no backend yet is asked again, ever more seldom."""
ASKED_AT_A_TIME = 8

SourceFactory = Callable[[DiscoveryConfig, Mapping[str, str]], Sequence[DiscoverySource]]


def sources_for(config: DiscoveryConfig, environ: Mapping[str, str]) -> list[DiscoverySource]:
    """The sources that the configuration switches on."""
    if not config.enabled:
        return []
    sources: list[DiscoverySource] = []
    if config.local_ports:
        sources.append(LocalPorts(environ))
    if config.cloud_from_env:
        sources.append(CloudEnv(environ))
    if config.mdns:
        sources.append(MdnsBrowser(config))
    return sources


def _whole(limit: int | None) -> int | None:
    return limit


class Discovery:
    """Runs the sources, and is the `Sink` that they report to.

    `own_addresses` are canonical `host:port` of this gateway's own listeners, never listed. What
    an operator removed is not listed again by itself until the next start. `share` is this
    process's part of a configured `max_concurrent`.
    """

    def __init__(
        self,
        registry: Registry,
        bus: Bus,
        *,
        node_id: str,
        get_config: Callable[[], Config],
        environ: Mapping[str, str],
        make_client: Callable[[], httpx.AsyncClient],
        sources: SourceFactory = sources_for,
        share: Callable[[int | None], int | None] = _whole,
    ) -> None:
        self.own_addresses: set[str] = set()
        self._registry, self._bus, self._node_id = registry, bus, node_id
        self._get_config, self._environ = get_config, environ
        self._make_client, self._make_sources = make_client, sources
        self._client: httpx.AsyncClient | None = None
        self._configured = Configured(registry, drop=self.drop, note=self.note, share=share)
        self._settings: DiscoveryConfig | None = None
        self._sources: Sequence[DiscoverySource] = ()
        self._running: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Semaphore(ASKED_AT_A_TIME)
        self._claims: dict[str, Found] = {}
        self._pursuits: dict[str, asyncio.Task[None]] = {}
        self._listed_for: dict[str, str] = {}
        """Backend by the key of the report that got it listed."""
        self._told: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._dismissed: set[str] = set()
        self._dropping = False
        self._unsubscribe = bus.subscribe(self._heard, BackendAdded, BackendRemoved)

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start to look. Returns before anything is found."""
        self._client = self._make_client()
        self.apply(self._get_config())

    async def stop(self) -> None:
        """Stop looking. The list stays as it is."""
        self._unsubscribe()
        ending = self._end_sources()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def apply(self, config: Config) -> None:
        """Take over a configuration: list, drop and reconfigure what stands in it, and look where
        it says, once started. Found backends and running requests stay."""
        self._configured.apply(config.backends)
        if self._client is None:
            return
        if config.discovery != self._settings:
            self._end_sources()
            self._settings = config.discovery
            self._sources = self._make_sources(config.discovery, self._environ)
            for source in self._sources:
                task = spawn(source.run(self), name=f"discovery {type(source).__name__}")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        for found in tuple(self._claims.values()):
            self.report(found)

    def _end_sources(self) -> list[asyncio.Task[None]]:
        ending = [*self._running, *self._pursuits.values()]
        for task in ending:
            task.cancel()
        self._claims.clear()
        self._pursuits.clear()
        return ending

    def searching(self) -> tuple[str, ...]:
        """Where it looks, in words; empty where discovery is off."""
        return tuple(place for source in self._sources for place in source.looking_at())

    async def add_url(
        self,
        url: str,
        *,
        name: str | None = None,
        type_: BackendType | None = None,
        zone: Zone | None = None,
        source: Source = Source.OPERATOR,
    ) -> str:
        """List the server at `url` because a person wants it. Returns the name it got.

        With a `type_` it is believed and not asked. Raises `CommandError` where the URL is no
        address, nothing answers, what answers is no LLM server or this gateway, or it is listed
        already.
        """
        if name is not None:
            checked_name(name)
        found, identity = await self._recognise(url, type_=type_, zone=zone, source=source)
        return self._list(found, identity, name)

    async def look_at(self, url: str) -> Sighting:
        """What `add_url` would find at `url`, and a test of it; nothing is listed. Raises
        `CommandError` as `add_url` does."""
        found, identity = await self._recognise(url, source=Source.OPERATOR)
        return await sighting(self._client, listed(found, identity), identity, self._environ)

    async def _recognise(
        self,
        url: str,
        *,
        source: Source,
        type_: BackendType | None = None,
        zone: Zone | None = None,
    ) -> tuple[Found, Identity]:
        try:
            base = normalise(url)
        except ValueError as error:
            raise CommandError(str(error)) from None
        await self._refuse_known(base)
        found = Found(
            key=f"operator {base}",
            urls=(base,),
            source=source,
            origin="brought by --demo" if source is Source.DEMO else "added by hand",
            trusted=True,
            zone=zone,
            api_key_env=self._key_variable(base),
        )
        try:
            identity = await self._ask(found, base, type_)
        except ItIsUs:
            raise CommandError(f"{base} is this Nexus itself") from None
        except NotABackend as error:
            raise CommandError(f"nothing is added: {base}: {error}") from None
        await self._refuse_known(identity.url)
        return found, identity

    # -- the sink ------------------------------------------------------------------------------

    def report(self, found: Found) -> None:
        """See `Sink`. Starts to verify what is new; what was verified and listed is left alone."""
        before = self._claims.get(found.key)
        self._claims[found.key] = found
        if before is not None and before != found:
            self._stop_pursuit(found.key)
            if set(before.urls).isdisjoint(found.urls):
                self._unlist(before)
        if found.key not in self._pursuits and not self._settled(found):
            self._pursuits[found.key] = spawn(self._pursue(found), name=f"verify {found.key}")

    def withdraw(self, key: str) -> None:
        """See `Sink`. A backend that announced itself leaves the list; one on a port of this
        machine stays, as down."""
        self._stop_pursuit(key)
        self._told.pop(key, None)
        if found := self._claims.pop(key, None):
            self._unlist(found)

    def note(self, sentence: str) -> None:
        """See `Sink`."""
        self._bus.publish(DiscoveryNoted(note=sentence))

    def knows(self, url: str) -> bool:
        """See `Sink`."""
        return (
            _authority(url) in self.own_addresses or self._registry.at(canonical(url)) is not None
        )

    # -- verifying -----------------------------------------------------------------------------

    async def _pursue(self, found: Found) -> None:
        delay = FIRST_RETRY_SECONDS
        try:
            while not await self._settle(found):
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_SECONDS)
        finally:
            if self._pursuits.get(found.key) is asyncio.current_task():
                del self._pursuits[found.key]

    async def _settle(self, found: Found) -> bool:
        """List it if it is a backend. False: it is none yet, so ask again later."""
        reasons = []
        for url in found.urls:
            if self._settled(found) or await twin_of(url, self._registry):
                return True
            try:
                identity = await self._ask(found, url, found.type)
            except ItIsUs:
                self.own_addresses.add(_authority(url))
                return True
            except NotABackend as error:
                reasons.append(f"{url}: {error}")
                continue
            if not self._settled(found) and not self.knows(identity.url):
                self._listed_for[found.key] = self._list(found, identity, None)
            return True
        if self._told.get(found.key) != (reason := "; ".join(reasons)):
            self._told[found.key] = reason
            self.note(f"found no backend at {reason}")
        return False

    async def _ask(self, found: Found, url: str, type_: BackendType | None) -> Identity:
        """What answers at `url`; a `type_` is believed. Raises `ItIsUs` and `NotABackend`."""
        if type_ is not None:
            return Identity(type=type_, url=url)
        if self._client is None:
            raise NotABackend("this gateway is not running")
        if self._registry.airplane and zone_of(url) is Zone.OPEN:
            raise NotABackend("it is not asked in airplane mode (`nexus airplane off`)")
        key = self._environ.get(found.api_key_env) if found.api_key_env else None
        async with self._asking:
            return await identify(self._client, url, node_id=self._node_id, api_key=key)

    async def _refuse_known(self, url: str) -> None:
        if _authority(url) in self.own_addresses:
            raise CommandError(f"{url} is this Nexus itself")
        if twin := await twin_of(url, self._registry):
            hint = "" if twin.accepted else "; accept it to give it traffic"
            raise CommandError(f"{url} is the backend {twin.name!r} already{hint}")

    def _settled(self, found: Found) -> bool:
        urls = (*found.urls, *found.known_as)
        return any(self.knows(url) or canonical(url) in self._dismissed for url in urls)

    def _key_variable(self, url: str) -> str | None:
        """A provider's own key for its own address, and none for anybody else."""
        owners = (one for one in PROVIDERS if canonical(url) == canonical(one.url))
        return next((one.key_variable(self._environ) for one in owners), None)

    def _stop_pursuit(self, key: str) -> None:
        if task := self._pursuits.pop(key, None):
            task.cancel()

    # -- the list ------------------------------------------------------------------------------

    def _list(self, found: Found, identity: Identity, name: str | None) -> str:
        backend = listed(found, identity)
        backend.name = name or self._registry.free_name(backend.name)
        self._registry.add(backend)
        self.note(_news(backend, found, identity))
        return backend.name

    def _unlist(self, found: Found) -> None:
        """Take a backend off the list that announced itself and does so no more."""
        name = self._listed_for.pop(found.key, None)
        if name is None or name in self._configured:
            return
        if self._registry.get(name).source is not Source.MDNS:
            return
        for heir in self._claims.values():
            if not set(heir.urls).isdisjoint(found.urls):
                self._listed_for[heir.key] = name
                return
        self.drop(name)
        self.note(f"{name} is gone: it is no longer announced")

    def drop(self, name: str) -> None:
        """Take a backend off the list, but not because an operator wanted it gone."""
        self._dropping = True
        try:
            self._registry.remove(name)
        finally:
            self._dropping = False

    def _heard(self, event: Event) -> None:
        match event:
            case BackendAdded(name=name):
                self._addresses[name] = self._registry.get(name).address
                self._dismissed.discard(self._addresses[name])
            case BackendRemoved(name=name):
                address = self._addresses.pop(name, None)
                if address is not None and not self._dropping:
                    self._dismissed.add(address)
                self._listed_for = {k: n for k, n in self._listed_for.items() if n != name}


def _authority(url: str) -> str:
    return canonical(url).partition("/")[0]


def _news(backend: Backend, found: Found, identity: Identity) -> str:
    words = [f"{backend.name} is listed: {identity.kind} at {backend.url}, {found.origin}"]
    if found.claims and _plain(found.claims) != _plain(identity.kind):
        words.append(f"it was announced as {found.claims}")
    if identity.needs_key:
        words.append("it asks for a key: name the variable that holds it as api_key_env")
    if not backend.accepted:
        words.append("it gets no traffic until it is accepted")
    return "; ".join(words)


def _plain(kind: str) -> str:
    return "".join(filter(str.isalnum, kind.lower()))
