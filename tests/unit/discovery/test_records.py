"""What strangers write into mDNS records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import ServiceInfo

from nexus_proxy.backends.address import local_addresses, normalise
from nexus_proxy.discovery.base import Found
from nexus_proxy.discovery.listing import derived_name
from nexus_proxy.discovery.records import TEXT_LIMIT, report_of, slug, texts

TYPE = "_llm._tcp.local."
STRANGER = "10.9.8.7"


def report(
    *,
    addresses: Sequence[str] = (STRANGER,),
    port: int = 8000,
    txt: Mapping[bytes, bytes | None] | None = None,
    server: str = "gpubox.local.",
    trust_all: bool = False,
) -> Found | None:
    info = ServiceInfo(
        TYPE,
        f"box.{TYPE}",
        port=port,
        parsed_addresses=list(addresses),
        properties=dict(txt or {}),
        server=server,
    )
    return report_of(info, trust_all=trust_all)


def seen(
    *,
    addresses: Sequence[str] = (STRANGER,),
    port: int = 8000,
    txt: Mapping[bytes, bytes | None] | None = None,
    server: str = "gpubox.local.",
    trust_all: bool = False,
) -> Found:
    found = report(addresses=addresses, port=port, txt=txt, server=server, trust_all=trust_all)
    assert found is not None
    return found


def test_an_honest_record() -> None:
    found = seen(txt={b"type": b"vllm", b"api_path": b"/v1", b"version": b"0.32.0"})
    assert found.urls == ("http://10.9.8.7:8000",)
    assert found.known_as == ("http://gpubox.local:8000",)
    assert (found.host, found.claims, found.trusted) == ("gpubox", "vllm", False)
    assert found.origin == "announced over mDNS as _llm._tcp by 10.9.8.7"


def test_ipv4_comes_first_and_ipv6_is_bracketed() -> None:
    found = seen(addresses=["fd12::7", STRANGER])
    assert found.urls == ("http://10.9.8.7:8000", "http://[fd12::7]:8000")


@pytest.mark.parametrize("address", ["fe80::7", "224.0.0.251", "169.254.169.254", "ff02::fb"])
def test_addresses_that_are_no_backends_are_left_out(address: str) -> None:
    assert report(addresses=[address]) is None
    assert seen(addresses=[address, STRANGER]).urls == ("http://10.9.8.7:8000",)


def test_a_record_without_a_port_is_nothing() -> None:
    assert report(port=0) is None


def test_port_443_is_asked_over_tls() -> None:
    assert seen(port=443).urls == ("https://10.9.8.7",)


def test_own_addresses_are_trusted_and_reached_by_loopback_first() -> None:
    mine = next(a for a in local_addresses() if a.count(".") == 3 and not a.startswith("127."))
    found = seen(addresses=[mine])
    assert found.trusted
    assert found.urls == ("http://127.0.0.1:8000", f"http://{mine}:8000")


def test_a_stranger_in_the_record_of_this_machine_gains_no_trust() -> None:
    found = seen(addresses=["127.0.0.1", STRANGER])
    assert found.trusted
    assert all("10.9.8.7" not in url for url in found.urls)


@pytest.mark.parametrize(
    "path",
    [
        b"/../../etc",
        b"@evil.example/",
        b"//evil.example/v1",
        b"/x?admin=1",
        b"/x#y",
        b"/a/b/c/d/e",
        b"/" + b"a" * 200,
        b"/%2e%2e",
        b"\xff\xfe",
    ],
)
def test_a_path_that_leads_elsewhere_is_ignored(path: bytes) -> None:
    assert seen(txt={b"api_path": path}).urls == ("http://10.9.8.7:8000",)


def test_a_prefix_is_kept() -> None:
    found = seen(txt={b"api_path": b"/engines/v1"})
    assert found.urls == ("http://10.9.8.7:8000/engines",)


def test_names_are_made_harmless() -> None:
    found = seen(txt={b"name": b"[red]../x\x1b[2J" + b"y" * 90})
    name = derived_name(found.urls[0], "vllm", 8000, found.host)
    assert name.startswith("vllm-red-..-x-2J")
    assert len(name) <= 64
    assert seen(txt={b"name": b"\xff\xfe"}).host == "gpubox"
    assert seen(txt={b"NAME": b"Big Box"}).host == "Big-Box"


@given(st.dictionaries(st.binary(max_size=12), st.none() | st.binary(max_size=300)))
def test_texts_never_fail_and_are_bounded(properties: dict[bytes, bytes | None]) -> None:
    for text in texts(properties).values():
        assert text.isprintable()
        assert len(text) <= TEXT_LIMIT


@given(st.text())
def test_a_slug_is_safe_in_names_paths_and_headers(text: str) -> None:
    made = slug(text)
    assert len(made) <= 32
    assert all(char.isascii() and (char.isalnum() or char in "._-") for char in made)


@given(
    server=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="."), max_size=40),
    path=st.binary(max_size=40),
)
def test_every_reported_url_can_be_called(server: str, path: bytes) -> None:
    found = seen(server=f"{server}.local.", txt={b"api_path": path})
    for url in (*found.urls, *found.known_as):
        assert normalise(url) == url
    assert found.urls[0].startswith("http://10.9.8.7:8000")


@pytest.mark.parametrize(
    ("url", "kind", "usual", "host", "name"),
    [
        ("http://127.0.0.1:11434", "ollama", 11434, "ignored", "ollama"),
        ("http://127.0.0.1:8081", "llamacpp", 8080, None, "llamacpp-8081"),
        ("http://127.0.0.1:4000", "generic", None, None, "generic-4000"),
        ("http://10.9.8.7:11434", "ollama", 11434, "gpubox", "ollama-gpubox"),
        ("http://10.9.8.7:11435", "ollama", 11434, "gpubox", "ollama-gpubox-11435"),
        ("http://10.9.8.7:8000", "vllm", 8000, None, "vllm-10.9.8.7"),
        ("http://[fd12::7]:8000", "vllm", 8000, None, "vllm-fd12-7"),
        ("https://openrouter.ai/api", "openai", None, None, "openai-openrouter.ai"),
    ],
)
def test_derived_names(url: str, kind: str, usual: int | None, host: str | None, name: str) -> None:
    assert derived_name(url, kind, usual, host) == name
