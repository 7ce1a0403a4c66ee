"""The file, and the variables that it and other tools name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from nexus_proxy.cli.checks.finding import Case, Finding, fail, ok, warn
from nexus_proxy.config.check import check
from nexus_proxy.config.load import find
from nexus_proxy.config.model import Zone
from nexus_proxy.discovery.environment import named
from nexus_proxy.discovery.local_ports import accepts
from nexus_proxy.discovery.zones import zone_of
from nexus_proxy.errors import ConfigError, StoreUnavailableError
from nexus_proxy.store.redis import HELLO, shared_store

FILE, VARIABLES, STATE = "config", "environment", "state"
CONNECT_SECONDS = 3.0
_KEYS = {
    "OPENAI_API_KEY": "OpenAI is listed as a backend, and gets no request until it is accepted",
    "ANTHROPIC_API_KEY": "Anthropic is listed as a backend, and gets no request until it is "
    "accepted",
    "GEMINI_API_KEY": "Google is listed as a backend, and gets no request until it is accepted",
    "GOOGLE_API_KEY": "Google is listed as a backend, and gets no request until it is accepted",
}


def file(explicit: str | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that is wrong with the file in use."""
    try:
        path = find(explicit, environ)
    except ConfigError as error:
        yield fail(FILE, error.message)
        return
    problems = check(path, environ)
    for problem in problems:
        yield fail(FILE, problem.message, "correct it; `nexus config check` looks again")
    if not problems:
        yield ok(FILE, _valid(path))


def settings(case: Case) -> Iterator[Finding]:
    """Settings that keep backends from being found."""
    config = case.loaded.config
    if not config.discovery.enabled:
        origin = case.loaded.origins.get("discovery.enabled", "default")
        yield warn(
            FILE,
            f"discovery is off ({origin}): nothing is found by itself",
            "set discovery.enabled = true",
        )
    elif not config.discovery.local_ports:
        yield warn(
            FILE,
            "local ports are not looked at: servers of this machine are not found",
            "set discovery.local_ports = true",
        )
    for backend in config.backends:
        if backend.api_key_env and not case.environ.get(backend.api_key_env):
            yield warn(
                VARIABLES,
                f"{backend.name} takes its key from {backend.api_key_env}, which is not set",
                f"export {backend.api_key_env}=… before the gateway starts",
            )


async def shared_state(case: Case) -> AsyncIterator[Finding]:
    """Whether the server answers through which replicas share what they know."""
    state = case.loaded.config.state
    store = shared_store(state, case.environ)
    if store is None:
        return
    variable = state.password_env
    if variable and not case.environ.get(variable):
        yield warn(
            VARIABLES,
            f"the shared state takes its password from {variable}, which is not set",
            f"export {variable}=… before the gateway starts",
        )
    await store.open()
    try:
        await store.run(HELLO, (), ())
    except StoreUnavailableError as error:
        yield fail(STATE, str(error), "start that server, or correct state.url")
    else:
        yield ok(STATE, f"{store.place} answers: replicas share budgets, limits, drains and pins")
    finally:
        await store.close()


async def variables(case: Case) -> AsyncIterator[Finding]:
    """Where other tools' variables point. Names only; no key is shown or sent."""
    addresses, problems = named(case.environ)
    for problem in problems:
        yield warn(VARIABLES, problem, "correct the variable")
    for one in addresses:
        if zone_of(one.url) is Zone.OPEN:
            continue  # somebody else's machine: not even a connection before it is accepted
        if await accepts(one.url, CONNECT_SECONDS):
            yield ok(VARIABLES, f"{one.variable} names {one.url}, which answers")
        else:
            yield warn(
                VARIABLES,
                f"{one.variable} names {one.url}, where nothing listens",
                f"start that server, or correct {one.variable}",
            )
    for name, meaning in _KEYS.items():
        if case.environ.get(name, "").strip():
            yield ok(VARIABLES, f"{name} is set: {meaning}")


def _valid(path: Path | None) -> str:
    return f"{path} is valid" if path else "there is no file, so the defaults are in force"
