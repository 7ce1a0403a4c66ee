"""One server under its name and under its address; two servers behind one proxy."""

from __future__ import annotations

import pytest

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.address import canonical
from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.discovery import twins
from nexus_proxy.discovery.twins import twin_of
from nexus_proxy.registry import Backend
from nexus_proxy.state import Source

ADDRESSES = {"gpubox": ("10.9.8.7", "10.9.8.8"), "web.lan": ("10.9.8.7",)}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str) -> tuple[str, ...]:
        return ADDRESSES.get(host, ())

    monkeypatch.setattr(twins, "_look_up", look_up)


def backend(url: str) -> Backend:
    return Backend(
        name="box",
        url=url,
        address=canonical(url),
        type=BackendType.GENERIC,
        traits=adapter_for(BackendType.GENERIC).traits,
        source=Source.CONFIG,
        origin="in the config file",
        zone=Zone.INTERNAL,
    )


@pytest.mark.parametrize(
    ("url", "listed", "same"),
    [
        ("http://10.9.8.8:8000", "http://gpubox:8000", True),
        ("http://gpubox:8000", "http://10.9.8.7:8000", True),
        ("http://10.9.8.8:8001", "http://gpubox:8000", False),
        ("http://gpubox:8000/ollama", "http://10.9.8.7:8000", False),
        ("http://gpubox:8000", "http://web.lan:8000", False),
        ("http://nowhere:8000", "http://10.9.8.7:8000", False),
        ("http://10.9.8.7:8000", "http://nowhere:8000", False),
        ("http://localhost:8000", "http://127.0.0.1:8000", True),
        ("http://gpubox:8000", "http://gpubox:8000", True),
    ],
)
async def test_twins(url: str, listed: str, same: bool) -> None:
    there = backend(listed)
    assert await twin_of(url, [there]) is (there if same else None)
