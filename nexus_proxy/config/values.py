"""What single texts must look like: addresses, globs, variable names, zones."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nexus_proxy.config.keys import nearest
from nexus_proxy.config.model import Zone


class Fault(NamedTuple):
    """Why a value cannot be used, and what to write instead."""

    problem: str
    hint: str | None = None


_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_KEY_LIKE = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)\w{20,}\Z")
"""Long, and of small and capital letters and digits: an API key such as Hugging Face's `hf_…`."""
_KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")
_SERVICE_TYPE = re.compile(r"_[A-Za-z0-9](?:[A-Za-z0-9-]{0,14})\._(?:tcp|udp)\.local\.?\Z")
_GLOB_CLASS = re.compile(r"\[!?\]?[^\]]*\]")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach an address or `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def time_zone(text: str) -> Fault | None:
    """An IANA time zone that this machine knows."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return Fault("is not a time zone", 'write it like "Europe/Zurich" or "UTC"')
    return None


def host(text: str) -> Fault | None:
    """An address to listen on: IPv4, IPv6 without brackets, or a name. No port."""
    try:
        ip_address(text)
    except ValueError:
        if _HOST_NAME.match(text):
            return None
        return Fault("is not an address or a host name", "the port has its own key, server.port")
    return None


def url(text: str) -> Fault | None:
    """The base address of a backend. Its text is not repeated: it may hold a password."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https")
        reachable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return Fault("is not a URL", 'write it like "http://localhost:11434"')
    if not text.isprintable() or " " in text:
        return Fault("is not a URL", "it holds spaces or control characters")
    if not known:
        return Fault("must start with http:// or https://")
    if not reachable:
        return Fault("names no host", 'write it like "http://localhost:11434"')
    if "@" in parts.netloc:
        return Fault(
            "holds a user name or password",
            "put the key into an environment variable and name that in api_key_env",
        )
    if parts.query or parts.fragment:
        return Fault("holds a ? or # part", "only the base address belongs here")
    return None


def store_url(text: str) -> Fault | None:
    """The address of a Redis or Valkey server. Its text is not repeated: it may hold a password."""
    example = 'write it like "redis://10.0.0.5:6379/0"'
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return Fault("is not a URL", example)
    if parts.scheme not in ("redis", "rediss"):
        return Fault("must start with redis:// or rediss:// (TLS)", example)
    if not text.isprintable() or " " in text or not is_whole:
        return Fault("names no host", example)
    if parts.password is not None:
        return Fault(
            "holds a password",
            "put it into an environment variable and name that in state.password_env",
        )
    if parts.query or parts.fragment or not re.fullmatch(r"/?\d*", parts.path):
        return Fault("holds more than an address and the number of a database", example)
    return None


def variable(text: str) -> Fault | None:
    """The name of an environment variable. Its text is not repeated: it may be the key itself."""
    if _VARIABLE.match(text) and not _KEY_LIKE.match(text):
        return None
    return Fault(
        "is not the name of an environment variable", "write the variable's name, not the key"
    )


def key_hash(text: str) -> Fault | None:
    """What is kept of an API key. Its text is not repeated: it may be the key itself."""
    if _KEY_HASH.match(text):
        return None
    return Fault(
        "is not a hash: sha256: and 64 hexadecimal digits",
        "`nexus keys create NAME` makes a key and writes its hash",
    )


def service_type(text: str) -> Fault | None:
    """An mDNS service type."""
    if _SERVICE_TYPE.match(text):
        return None
    return Fault(f"{text!r} is not an mDNS service type", 'write it like "_ollama._tcp.local."')


def zone(text: str) -> Fault | None:
    """A zone, in any case."""
    try:
        Zone.parse(text)
    except ValueError as error:
        close = nearest(text, [zone.label for zone in Zone])
        return Fault(str(error), f'did you mean "{close}"?' if close else None)
    return None


def name(text: str) -> Fault | None:
    """What a backend or model is called: one line, no spaces around it."""
    if text.isprintable() and text.strip() == text != "":
        return None
    return Fault("is empty, or holds control characters or spaces around it")


def file(text: str) -> Fault | None:
    """The path of a file; `~` is the user's own folder."""
    if not text.isprintable() or text.strip() != text or not text:
        return Fault("is empty, or holds control characters or spaces around it")
    if text.endswith(("/", "\\")):
        return Fault("is a folder", "name the file too, such as nexus.db")
    if text.startswith("~") and not text.startswith("~/"):
        return Fault("starts with ~, and is not in your own folder", "write the whole path")
    return None


def is_glob(text: str) -> bool:
    """Whether a name is a pattern."""
    return any(mark in text for mark in "*?[")


def exact_name(text: str) -> Fault | None:
    """A name where patterns are not read, so that one would never match anything."""
    if "*" in text or "?" in text:
        return Fault(f"{text!r} is a pattern", "only exact names are read here")
    return name(text)


def glob(text: str) -> Fault | None:
    """A pattern with `*`, `?` and `[…]`, as `fnmatch` reads it, or an exact name."""
    rest = _GLOB_CLASS.sub(_reversed_range, text)
    if "[" in rest:
        return Fault(f"{text!r} is a bad pattern: [ is not closed", "write [[] to mean [ itself")
    if "\x00" in rest:
        return Fault(f"{text!r} is a bad pattern: a range like z-a matches nothing")
    return name(text)


def _reversed_range(found: re.Match[str]) -> str:
    """Nothing for a good class, NUL for one with a range that runs backwards."""
    ranges = re.findall(r"([^\[!])-([^\]])", found[0])
    return "\x00" if any(low > high for low, high in ranges) else ""
