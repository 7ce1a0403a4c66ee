"""Multicast DNS: does it work here, and who announces a backend?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from nexus_proxy.cli.checks.finding import Case, Finding, ok, warn
from nexus_proxy.config.model import TrustMdns
from nexus_proxy.discovery.base import Found
from nexus_proxy.discovery.mdns import MdnsBrowser

CHECK = "mdns"
LISTEN_SECONDS = 2.0


class _Ears:
    """A sink that only listens."""

    def __init__(self) -> None:
        self.found: dict[str, Found] = {}
        self.notes: list[str] = []

    def report(self, found: Found) -> None:
        self.found[found.key] = found

    def withdraw(self, key: str) -> None:
        """What is gone after two seconds was there all the same."""

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def knows(self, url: str) -> bool:
        return False


async def announced(case: Case, *, seconds: float = LISTEN_SECONDS) -> AsyncIterator[Finding]:
    """Listen for announcements for some seconds."""
    discovery = case.loaded.config.discovery
    if not (discovery.enabled and discovery.mdns):
        yield ok(CHECK, "announcements are not looked for (discovery.mdns)")
        return
    ears = _Ears()
    # With `never`, the browser keeps others' announcements to itself.
    browser = MdnsBrowser(msgspec.structs.replace(discovery, trust_mdns=TrustMdns.ASK))
    try:
        async with asyncio.timeout(seconds):
            await browser.run(ears)
    except TimeoutError:
        pass  # it browses until it is cancelled
    for note in ears.notes:
        yield warn(CHECK, note)
    for found in ears.found.values():
        yield _verdict(case, found)
    if not ears.found and not ears.notes:
        yield ok(
            CHECK,
            f"nothing was announced in {seconds:g} s. Stock Ollama, LM Studio, llama.cpp and vLLM "
            "do not announce themselves: run `nexus announce` on their machine, or "
            "`nexus backends add URL` here",
        )


def _verdict(case: Case, found: Found) -> Finding:
    what = f"{found.urls[0]} {found.origin}"
    if case.snapshot is None or any(case.listed(url) for url in found.urls):
        return ok(CHECK, what)
    if case.loaded.config.discovery.trust_mdns is TrustMdns.NEVER:
        return warn(CHECK, f"{what}, but is not trusted", 'set discovery.trust_mdns = "ask"')
    return warn(
        CHECK,
        f"{what}, but is not listed; the gateway's log says why",
        f"nexus backends add {found.urls[0]}",
    )
