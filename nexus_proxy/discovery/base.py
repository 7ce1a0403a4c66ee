"""What a source of backends is, and what it tells.

A source runs as one task and reports what it finds to a `Sink`. It lists nothing itself: the
service verifies each report by asking the server what it is, and decides whether to list it.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.state import Source


class Found(Struct, frozen=True, kw_only=True):
    """A place where a backend may be.

    Attributes:
        key: what the source knows it by, so that a later report or a withdrawal means the same.
        urls: ways to reach it, best first.
        known_as: further URLs of the same server that are not tried, only compared, so that
            one server under two names is not listed twice.
        origin: how it came to be known, in words that end a sentence: `named by OLLAMA_HOST`.
        trusted: whether it may have traffic without having been accepted by a person.
        host: the name of its machine for the backend's name; None: taken from the URL.
        type: its kind where the source is sure, which also skips the verification; None: ask it.
        zone: None: by type and address.
        api_key_env: the variable that holds its key. Never the key.
        claims: the kind that the source says it is, told to people where it is not true.
    """

    key: str
    urls: tuple[str, ...]
    source: Source
    origin: str
    trusted: bool
    known_as: tuple[str, ...] = ()
    host: str | None = None
    type: BackendType | None = None
    zone: Zone | None = None
    api_key_env: str | None = None
    claims: str | None = None


class Sink(Protocol):
    """Where sources report to."""

    def report(self, found: Found) -> None:
        """Something may be here. The same report again is harmless."""
        ...

    def withdraw(self, key: str) -> None:
        """What was reported under this key is gone."""
        ...

    def note(self, sentence: str) -> None:
        """Tell people something that is not a find."""
        ...

    def knows(self, url: str) -> bool:
        """Whether the server at this URL is listed already, or is this gateway."""
        ...


class DiscoverySource(Protocol):
    """One way to find backends."""

    def looking_at(self) -> tuple[str, ...]:
        """The places it looks at, in words: `127.0.0.1:11434 (Ollama)`."""
        ...

    async def run(self, sink: Sink) -> None:
        """Look until cancelled, or until there is nothing more to find. A bad network is told
        to the sink as a note and is never raised."""
        ...
