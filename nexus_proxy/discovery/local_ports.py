"""Servers of this machine on the ports that they usually have, and where the environment points.

A port is first tried with a bare TCP connection, which is cheap and which no server minds; only
one that accepts is reported, and then asked what it is. 127.0.0.1 is named rather than
`localhost`, since some servers listen on one address family only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

from nexus_proxy.config.model import Zone
from nexus_proxy.discovery.base import Found, Sink
from nexus_proxy.discovery.environment import Named, named
from nexus_proxy.discovery.zones import own_machine, zone_of
from nexus_proxy.state import Source

CONNECT_SECONDS = 0.3
POLL_SECONDS = 15.0


class WellKnown(Struct, frozen=True):
    """A port and who usually listens there. `paths` are prefixes to try, best first."""

    port: int
    title: str
    paths: tuple[str, ...] = ("",)


WELL_KNOWN = (
    WellKnown(11434, "Ollama"),
    WellKnown(1234, "LM Studio"),
    WellKnown(8080, "llama.cpp"),
    WellKnown(8000, "vLLM"),
    WellKnown(8001, "vLLM"),
    WellKnown(52415, "exo"),
    WellKnown(30000, "SGLang"),
    WellKnown(13305, "Lemonade", paths=("/api", "")),
    WellKnown(4891, "GPT4All"),
    WellKnown(9379, "LiteRT-LM"),
    WellKnown(1337, "Jan"),
    WellKnown(5001, "KoboldCpp"),
    WellKnown(5000, "text-generation-webui"),
    WellKnown(12434, "Docker Model Runner", paths=("/engines",)),
    WellKnown(9997, "Xinference"),
    WellKnown(10240, "mlx-omni-server"),
    WellKnown(23333, "LMDeploy"),
    WellKnown(4000, "LiteLLM"),
)


class LocalPorts:
    """Looks at start and then every `every` seconds, at all ports at once."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        ports: Sequence[WellKnown] = WELL_KNOWN,
        every: float = POLL_SECONDS,
    ) -> None:
        self._every = every
        addresses, self._problems = named(environ)
        near = [_named(one) for one in addresses if zone_of(one.url) is not Zone.OPEN]
        taken = {place.netloc for place in near}
        usual = [_usual(port) for port in ports]
        self._places = [*near, *(place for place in usual if place.netloc not in taken)]

    def looking_at(self) -> tuple[str, ...]:
        """`127.0.0.1:11434 (Ollama)` and so on."""
        return tuple(f"{place.netloc} ({place.title})" for place in self._places)

    async def run(self, sink: Sink) -> None:
        """Look until cancelled."""
        for problem in self._problems:
            sink.note(problem)
        while True:
            await asyncio.gather(*(self._look(place.found, sink) for place in self._places))
            await asyncio.sleep(self._every)

    async def _look(self, found: Found, sink: Sink) -> None:
        if sink.knows(found.urls[0]):
            return
        if await accepts(found.urls[0]):
            sink.report(found)
        else:
            sink.withdraw(found.key)


async def accepts(url: str, seconds: float = CONNECT_SECONDS) -> bool:
    """Whether something accepts a TCP connection at the URL's host and port."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
            )
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


class _Place(Struct, frozen=True, kw_only=True):
    title: str
    found: Found

    @property
    def netloc(self) -> str:
        return urlsplit(self.found.urls[0]).netloc


def _usual(port: WellKnown) -> _Place:
    origin = f"127.0.0.1:{port.port}"
    found = Found(
        key=f"port {port.port}",
        urls=tuple(f"http://{origin}{path}" for path in port.paths),
        source=Source.LOCAL_PORT,
        origin=f"found on {origin}, the usual port of {port.title}",
        trusted=True,
    )
    return _Place(title=port.title, found=found)


def _named(one: Named) -> _Place:
    """The user's own setting is the user's consent, as long as it stays on a private network."""
    found = Found(
        key=one.variable,
        urls=(one.url,),
        source=Source.LOCAL_PORT if own_machine(one.url) else Source.ENVIRONMENT,
        origin=f"named by {one.variable}",
        trusted=True,
        api_key_env=one.api_key_env,
    )
    return _Place(title=one.variable, found=found)
