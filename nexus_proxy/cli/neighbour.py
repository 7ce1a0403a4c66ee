"""Who has our port? Asked only when binding it failed."""

from __future__ import annotations

import asyncio

from nexus_proxy.backends import adapter_for
from nexus_proxy.config.model import BackendType
from nexus_proxy.discovery.local_ports import WELL_KNOWN
from nexus_proxy.server.listen import PortInUseError

ANSWER_WITHIN = 4.0


def port_in_use(error: PortInUseError) -> PortInUseError:
    """The same error, saying what answers there and how to run beside it."""
    what, is_backend = asyncio.run(_identify(error.host, error.port))
    sentence = f"{error.host}:{error.port} is in use by {what}."
    if error.free_port:
        sentence += f" Start Nexus beside it: nexus --port {error.free_port}"
        if is_backend and error.port in {usual.port for usual in WELL_KNOWN}:
            sentence += " (it will then find this server and list it as a backend)"
        elif is_backend:
            add = f"nexus backends add {error.host}:{error.port}"
            sentence += f" (`{add}` will then list it as a backend)"
    named = PortInUseError(error.host, error.port, error.free_port)
    named.args = (sentence,)
    return named


async def _identify(host: str, port: int) -> tuple[str, bool]:
    """What answers there, in words, and whether it could be a backend."""
    from nexus_proxy.backends.fingerprint import IsNexus, NotABackend, fingerprint
    from nexus_proxy.control_client import make_client

    url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    try:
        async with asyncio.timeout(ANSWER_WITHIN), make_client() as client:
            found = await fingerprint(client, url)
    except IsNexus:
        return "another Nexus (`nexus attach` opens its screen)", False
    except (NotABackend, TimeoutError):
        return "another program", False
    if found.type is BackendType.GENERIC:
        return "an OpenAI-compatible server", True
    title = adapter_for(found.type).title
    return (f"{title} {found.version}" if found.version else title), True
