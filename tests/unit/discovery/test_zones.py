"""Where nobody said how closed a place is, doubt counts as open."""

from __future__ import annotations

import pytest

from nexus_proxy.backends.address import local_addresses
from nexus_proxy.config.model import Zone
from nexus_proxy.discovery.zones import own_machine, zone_of


@pytest.mark.parametrize(
    ("url", "zone"),
    [
        ("http://127.0.0.1:11434", Zone.RESTRICTED),
        ("http://localhost:11434", Zone.RESTRICTED),
        ("http://[::1]:11434", Zone.RESTRICTED),
        ("http://10.200.200.200:8000", Zone.INTERNAL),
        ("http://[fd12::7]:8000", Zone.INTERNAL),
        ("http://100.100.1.1:8000", Zone.INTERNAL),
        ("http://gpubox:8000", Zone.INTERNAL),
        ("http://gpubox.local:8000", Zone.INTERNAL),
        ("http://8.8.8.8:8000", Zone.OPEN),
        ("http://127.0.0.1:4000", Zone.OPEN),
        ("http://gpubox:4000/v1", Zone.OPEN),
        ("http://[2606:4700::1111]:8000", Zone.OPEN),
        ("https://api.openai.com", Zone.OPEN),
        ("https://gpubox.local.example.com", Zone.OPEN),
    ],
)
def test_zone_of_an_address(url: str, zone: Zone) -> None:
    assert zone_of(url) is zone


def test_own_addresses_on_the_network_are_this_machine() -> None:
    lan = [address for address in local_addresses() if address.count(".") == 3]
    assert lan
    assert all(own_machine(f"http://{address}:1") for address in lan)
