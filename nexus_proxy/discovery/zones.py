"""How closed an address is by itself, where nobody has said."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from nexus_proxy.backends.address import canonical
from nexus_proxy.config.model import Zone

FORWARDING = frozenset({4000})
"""Usual ports of programs that pass prompts on to clouds: LiteLLM."""
_LAN_SUFFIXES = (".local", ".lan", ".home", ".internal", ".home.arpa")


def own_machine(url: str) -> bool:
    """Whether a normalised URL leads to this machine, by loopback or by its own address."""
    return urlsplit(f"//{canonical(url)}").hostname == "127.0.0.1"


def zone_of(url: str) -> Zone:
    """The zone of a normalised URL: this machine is `restricted`, a private network `internal`,
    everything else `open`, and so is a gateway to clouds wherever it runs. No name is looked up:
    one that could be public counts as public."""
    if urlsplit(url).port in FORWARDING:
        return Zone.OPEN
    if own_machine(url):
        return Zone.RESTRICTED
    host = urlsplit(url).hostname or ""
    try:
        return Zone.OPEN if ip_address(host).is_global else Zone.INTERNAL
    except ValueError:
        on_lan = host.endswith(_LAN_SUFFIXES) or "." not in host
        return Zone.INTERNAL if on_lan else Zone.OPEN
