"""Addresses that the user's own environment names, for other tools' sake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address

from msgspec import Struct

from nexus_proxy.backends.address import normalise
from nexus_proxy.config.model import BackendType

OLLAMA_PORT = 11434


class Provider(Struct, frozen=True, kw_only=True):
    """A cloud, the variables that may hold its key (the first that is set counts), and the one that
    may name another address of its dialect."""

    type: BackendType
    url: str
    keys: tuple[str, ...]
    address: str | None = None

    def key_variable(self, environ: Mapping[str, str]) -> str | None:
        """The variable that holds its key now."""
        return next((name for name in self.keys if environ.get(name, "").strip()), None)


PROVIDERS = (
    Provider(
        type=BackendType.OPENAI,
        url="https://api.openai.com",
        keys=("OPENAI_API_KEY",),
        address="OPENAI_BASE_URL",
    ),
    Provider(
        type=BackendType.ANTHROPIC,
        url="https://api.anthropic.com",
        keys=("ANTHROPIC_API_KEY",),
        address="ANTHROPIC_BASE_URL",
    ),
    Provider(
        type=BackendType.GOOGLE,
        url="https://generativelanguage.googleapis.com",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
)


class Named(Struct, frozen=True, kw_only=True):
    """One address, the variable that names it, and the variable with its key."""

    url: str
    variable: str
    type: BackendType
    api_key_env: str | None = None


def named(environ: Mapping[str, str]) -> tuple[list[Named], list[str]]:
    """The addresses in the environment, and a sentence for each value that is none."""
    found, problems = [], []
    readers: list[Callable[[Mapping[str, str]], Named | None]] = [_ollama]
    readers += [partial(_provider, provider) for provider in PROVIDERS]
    for read in readers:
        try:
            if (one := read(environ)) is not None:
                found.append(one)
        except ValueError as error:
            problems.append(str(error))
    return found, problems


def ollama_url(value: str) -> str:
    """What a client reads from `OLLAMA_HOST`, by Ollama's own rule: `[scheme://]host[:port]`.

    A server's `0.0.0.0` is loopback for a client. The port is 11434, with a scheme the scheme's
    own. Raises `ValueError`.
    """
    text = value.strip().strip("\"'")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    authority, _, path = rest.partition("/")
    if authority.startswith(":") and authority.count(":") == 1:
        authority = f"127.0.0.1{authority}"
    if not separator and not _has_port(authority):
        authority = f"{_bracketed(authority or '127.0.0.1')}:{OLLAMA_PORT}"
    return normalise(f"{scheme}://{authority}/{path}")


def _ollama(environ: Mapping[str, str]) -> Named | None:
    value = environ.get("OLLAMA_HOST", "").strip()
    if not value:
        return None
    try:
        url = ollama_url(value)
    except ValueError as error:
        raise ValueError(f"OLLAMA_HOST is not used: {error}") from None
    return Named(url=url, variable="OLLAMA_HOST", type=BackendType.OLLAMA)


def _provider(provider: Provider, environ: Mapping[str, str]) -> Named | None:
    key = provider.key_variable(environ)
    address = environ.get(provider.address, "").strip() if provider.address else ""
    if key is None and not address:
        return None
    try:
        url = normalise(address or provider.url)
    except ValueError as error:
        raise ValueError(f"{provider.address} is not used: {error}") from None
    variable = provider.address if address else key
    assert variable is not None, "one of the two is set"
    return Named(url=url, variable=variable, type=provider.type, api_key_env=key)


def _has_port(authority: str) -> bool:
    if authority.startswith("["):
        return "]:" in authority
    return authority.count(":") == 1


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        return host
