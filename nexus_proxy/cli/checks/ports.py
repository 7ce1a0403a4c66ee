"""The usual ports of LLM servers on this machine: what listens, and is it listed?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from nexus_proxy.backends.address import canonical
from nexus_proxy.backends.fingerprint import IsNexus, NotABackend, fingerprint
from nexus_proxy.cli.checks.finding import Case, Finding, ok, warn
from nexus_proxy.discovery.local_ports import WELL_KNOWN, WellKnown, accepts

CHECK = "ports"


async def local(case: Case) -> AsyncIterator[Finding]:
    """A finding for each open port, and one for all that are closed."""
    own = canonical(case.url)
    places = [port for port in WELL_KNOWN if canonical(_urls(port)[0]) != own]
    opened = await asyncio.gather(*(accepts(_urls(port)[0]) for port in places))
    live = [port for port, is_open in zip(places, opened, strict=True) if is_open]
    for found in await asyncio.gather(*(_identified(case, port) for port in live)):
        yield found
    closed = [f"{port.port} ({port.title})" for port in places if port not in live]
    if not live:
        yield warn(
            CHECK,
            f"no usual port of this machine is open: {', '.join(closed)}",
            "start a server, try `nexus --demo`, or name one: `nexus backends add URL`",
        )
    elif closed:
        yield ok(CHECK, f"nothing listens on {', '.join(closed)}")


async def _identified(case: Case, port: WellKnown) -> Finding:
    where = f"127.0.0.1:{port.port}"
    reason = "it does not say what it is"
    for url in _urls(port):
        try:
            found = await fingerprint(case.client, url)
        except IsNexus:
            return ok(CHECK, f"{where} is another Nexus")
        except NotABackend as error:
            reason = str(error)
            continue
        what = f"{where} is {found.type.value}" + (f" {found.version}" if found.version else "")
        if case.snapshot is not None and case.listed(url) is None:
            return warn(CHECK, f"{what}, and is not listed", f"nexus backends add {found.base_url}")
        return ok(CHECK, what)
    return warn(CHECK, f"{where} is open, but is no LLM server: {reason}")


def _urls(port: WellKnown) -> list[str]:
    return [f"http://127.0.0.1:{port.port}{path}" for path in port.paths]
