"""Whether a gateway runs where it should, and what answers there if not."""

from __future__ import annotations

import msgspec

from nexus_proxy import __version__
from nexus_proxy.backends.fingerprint import IsNexus, NotABackend, fingerprint
from nexus_proxy.cli.checks.finding import Case, Finding, fail, ok, warn
from nexus_proxy.cli.client import KEY_VARIABLE, credentials
from nexus_proxy.config.model import DEFAULT_PORT
from nexus_proxy.discovery.local_ports import accepts
from nexus_proxy.state import Snapshot

CHECK = "gateway"
CONNECT_SECONDS = 3.0
NODE = "x-nexus-node"


async def look(case: Case) -> tuple[Snapshot | None, list[Finding]]:
    """The state of the gateway at the case's address, where it tells it, and what was found."""
    import httpx

    if not await accepts(case.url, CONNECT_SECONDS):
        start = f"no gateway runs at {case.url}"
        return None, [warn(CHECK, start, "`nexus` starts one; --url names another address")]
    try:
        key = credentials(case.environ.get(KEY_VARIABLE))
        answer = await case.client.get(f"{case.url}/nexus/v1/state", headers=key)
    except httpx.HTTPError as error:
        return None, [fail(CHECK, f"{case.url} accepts connections, but: {_reason(error)}")]
    if NODE not in answer.headers:
        return None, [await _stranger(case)]
    if answer.status_code in (401, 403):
        closed = f"{case.url} is a gateway, and shows its state only with its management key"
        return None, [warn(CHECK, closed, f"put the key into {KEY_VARIABLE}")]
    try:
        snapshot = msgspec.json.decode(answer.content, type=Snapshot)
    except msgspec.DecodeError:
        return None, [_other_version(case.url)]
    return snapshot, [_running(snapshot), *_problems(snapshot)]


def _running(snapshot: Snapshot) -> Finding:
    if snapshot.version != __version__:
        return warn(
            CHECK,
            f"nexus {snapshot.version} runs at {snapshot.endpoint}, this is nexus {__version__}",
            "start the gateway again",
        )
    return ok(CHECK, f"nexus {snapshot.version} runs at {snapshot.endpoint}")


def _problems(snapshot: Snapshot) -> list[Finding]:
    """What the gateway itself says, but for what is said of each backend."""
    about_all = [p for p in snapshot.problems if "configuration" in p]
    return [warn(CHECK, problem, "`nexus config check` says more") for problem in about_all]


def _other_version(url: str) -> Finding:
    return fail(
        CHECK,
        f"the gateway at {url} is of another version than this nexus {__version__}",
        "use the same version for both",
    )


async def _stranger(case: Case) -> Finding:
    fix = f"`nexus --port {_free_port(case.url)}` runs beside it"
    try:
        found = await fingerprint(case.client, case.url)
    except NotABackend as error:
        return fail(CHECK, f"another program has {case.url}: {error}", fix)
    except IsNexus:
        return _other_version(case.url)
    return fail(
        CHECK,
        f"{found.type.value} has {case.url} ({found.evidence})",
        f"{fix}, and lists it as a backend",
    )


def _free_port(url: str) -> int:
    import socket
    from urllib.parse import urlsplit

    taken = urlsplit(url).port or DEFAULT_PORT
    for port in range(taken + 1, min(taken + 100, 65_536)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    return 0


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
