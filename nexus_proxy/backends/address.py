"""Addresses of backends: one spelling for each, and which of them are the same server.

What people paste and what a network announces is read here into a base URL that requests can be
built on, and refused with a sentence where it cannot be a backend or must not be called.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from urllib.parse import SplitResult, quote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 1000
_DEFAULT_PORTS = {"http": 80, "https": 443}
_API_PATH = re.compile(r"(/v1(/chat/completions|/completions|/embeddings|/messages|/models)?)+/*$")
_GOOGLE, _GOOGLE_PATH = "generativelanguage.googleapis.com", re.compile(r"/v1beta(/openai)?/*$")
"""Whose own API stands beside the one for OpenAI's clients, which is what people copy."""
_NUMERIC_HOST = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_METADATA = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fd00:ec2::254/128"))
"""Where clouds serve a machine's own credentials: nothing that answers there is a backend."""
_LOCAL_TTL = 30.0
"""Seconds for which the list of this machine's addresses is good; laptops change networks."""

_local: tuple[float, frozenset[str]] | None = None


def normalise(url: str) -> str:
    """The base URL of a backend: scheme, host, port unless it is the scheme's own, path prefix.

    A missing scheme becomes `http`, `0.0.0.0` and `::` become `127.0.0.1`; trailing slashes, any
    number of `/v1` and a known endpoint behind it go, as does `/v1beta/openai` of Google's own
    host. `https://host/openai/v1` keeps `/openai`.
    Raises `ValueError` with a sentence for people.
    """
    text = url.strip()
    if len(text) > _LONGEST:
        raise ValueError(f"the address is longer than {_LONGEST} characters")
    if not text or any(ord(char) <= 0x20 or ord(char) == 0x7F or char == "\\" for char in text):
        raise ValueError("the address is empty, or holds spaces or backslashes")
    parts = _split(text if "://" in text else f"http://{text.removeprefix('//')}")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{parts.scheme}:// is not served here; use http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("the address holds a user name or password; give keys by api_key_env")
    if parts.query or parts.fragment:
        raise ValueError(f"{_shown(parts)} goes on with ? or #; leave that out")
    host = _host(parts.hostname or "")
    port = _port(parts)
    authority = host if port == _DEFAULT_PORTS[parts.scheme] else f"{host}:{port}"
    path = _GOOGLE_PATH.sub("", parts.path) if host == _GOOGLE else parts.path
    return f"{parts.scheme}://{authority}{_prefix(path)}"


def canonical(base_url: str, local: frozenset[str] | None = None) -> str:
    """`host:port` plus path prefix: equal for two addresses of one server.

    All of loopback and the addresses in `local` (default: `local_addresses()`) become
    `127.0.0.1`. `base_url` is as `normalise` made it. Names are not looked up.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    known = local_addresses() if local is None else local
    if _is_loopback_host(host) or host in known:
        host = "127.0.0.1"
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
    return f"{_bracketed(host)}:{port}{parts.path}"


def is_loopback(url: str) -> bool:
    """Whether requests to `url` stay inside this machine by its very name. No lookup."""
    try:
        return _is_loopback_host(urlsplit(url).hostname or "")
    except ValueError:
        return False


def local_addresses(*, refresh: bool = False) -> frozenset[str]:
    """Every address of this machine's interfaces, and its own host names, lower case.

    Kept for 30 s unless `refresh` is set.
    """
    global _local
    now = time.monotonic()
    if _local is None or refresh or now - _local[0] > _LOCAL_TTL:
        _local = (now, _interface_addresses() | _own_names())
    return _local[1]


def _interface_addresses() -> frozenset[str]:
    import ifaddr

    found = set()
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            found.add(str(ipaddress.ip_address(text.partition("%")[0])))
    return frozenset(found)


def _own_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, f"{name.partition('.')[0]}.local"}) if name else frozenset()


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("the host of the address cannot be read: check its brackets") from None


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{_shown(parts)} has no usable port; ports are 1 to 65535")
    return port or _DEFAULT_PORTS[parts.scheme]


def _host(text: str) -> str:
    host = _ascii(text).rstrip(".")  # first, lest an address hides behind a dot or wide digits
    if not host:
        raise ValueError("the address names no host; write it like http://127.0.0.1:11434")
    address = _parse_ip(host)
    if address is None:
        return _host_name(host)
    if any(address in network for network in _METADATA):
        raise ValueError(f"{text} is a link-local metadata address, never a backend")
    if address.is_multicast:
        raise ValueError(f"{text} is a multicast address; a backend has an address of its own")
    return "127.0.0.1" if address.is_unspecified else _bracketed(str(address))


def _ascii(host: str) -> str:
    try:
        return (host if host.isascii() else host.encode("idna").decode("ascii")).lower()
    except UnicodeError:
        raise ValueError(f"{host!r} is not a host name") from None


def _parse_ip(host: str) -> Address | None:
    """The IP address that a resolver would make of `host`, odd spellings such as
    `2852039166` and IPv4 inside IPv6 included; None for a name."""
    try:
        address: Address = ipaddress.ip_address(host)
    except ValueError:
        if not _NUMERIC_HOST.fullmatch(host):
            return None
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            raise ValueError(f"{host} is neither an IP address nor a host name") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise ValueError(f"{host} is good on one interface only; use another address of it")
        return address.ipv4_mapped or address
    return address


def _host_name(name: str) -> str:
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{name!r} is not a host name")
    return name


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _prefix(path: str) -> str:
    collapsed = re.sub(r"/{2,}", "/", path)
    prefix = _API_PATH.sub("", collapsed).rstrip("/")
    if any(part in (".", "..") for part in prefix.split("/")):
        raise ValueError(f"the path {path} holds . or ..; write it out")
    return quote(prefix, safe="/%:@!$&'()*+,;=~")


def _is_loopback_host(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = _parse_ip(host)
    except ValueError:
        return False
    return address is not None and address.is_loopback
