"""One spelling for each address, and none for what must not be called."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.backends import address
from nexus_proxy.backends.address import canonical, is_loopback, local_addresses, normalise

SPELLINGS = {
    "http://127.0.0.1:11434": "http://127.0.0.1:11434",
    "http://127.0.0.1:11434/": "http://127.0.0.1:11434",
    "http://127.0.0.1:11434/v1": "http://127.0.0.1:11434",
    "http://127.0.0.1:11434/v1/": "http://127.0.0.1:11434",
    "http://127.0.0.1:11434/v1/v1": "http://127.0.0.1:11434",
    "http://127.0.0.1:11434//v1//": "http://127.0.0.1:11434",
    "http://h:8080/v1/chat/completions": "http://h:8080",
    "http://h:8080/v1/models/": "http://h:8080",
    "  localhost:11434 ": "http://localhost:11434",
    "//box:8080": "http://box:8080",
    "box": "http://box",
    "HTTP://BOX.Local:1234/v1": "http://box.local:1234",
    "http://box.:1234": "http://box:1234",
    "http://box:80": "http://box",
    "https://box:443/v1": "https://box",
    "https://box:80": "https://box:80",
    "https://api.groq.com/openai/v1": "https://api.groq.com/openai",
    "https://openrouter.ai/api/v1": "https://openrouter.ai/api",
    "http://gate/ollama/": "http://gate/ollama",
    "http://gate/v1beta/openai": "http://gate/v1beta/openai",
    "https://generativelanguage.googleapis.com/v1beta/openai/": (
        "https://generativelanguage.googleapis.com"
    ),
    "https://api.anthropic.com/v1/messages": "https://api.anthropic.com",
    "http://gate/v10": "http://gate/v10",
    "http://gate/modèles/v1": "http://gate/mod%C3%A8les",
    "http://gate/a%2Fb": "http://gate/a%2Fb",
    "http://0.0.0.0:8080": "http://127.0.0.1:8080",
    "http://[::]:8080": "http://127.0.0.1:8080",
    "http://[::1]:8080/v1": "http://[::1]:8080",
    "http://[0:0:0:0:0:0:0:1]:8080": "http://[::1]:8080",
    "http://[::ffff:192.168.1.5]:1": "http://192.168.1.5:1",
    "http://127.1:8080": "http://127.0.0.1:8080",
    "http://0x7f000001:8080": "http://127.0.0.1:8080",
    "http://münchen.local:1": "http://xn--mnchen-3ya.local:1",
}


@pytest.mark.parametrize(("text", "base_url"), SPELLINGS.items())
def test_every_spelling_has_one_form(text: str, base_url: str) -> None:
    assert normalise(text) == base_url
    assert normalise(base_url) == base_url


REFUSED = {
    "": "empty",
    "   ": "empty",
    "http://box" + "/v1" * 9999: "longer than",
    "http://": "names no host",
    "http:///v1": "names no host",
    "ftp://box": "use http:// or https://",
    "file:///etc/passwd": "use http:// or https://",
    "javascript://box": "use http:// or https://",
    "http://user:hunter2@box": "user name or password",
    "http://box/v1#x": "leave that out",
    "http://box/v1?key=hunter2": "leave that out",
    "http://box:0": "no usable port",
    "http://box:65536": "no usable port",
    "http://box:x": "no usable port",
    "http://bo x": "spaces",
    "http://box\\@evil": "backslashes",
    "http://box\r\nHost: evil": "spaces",
    "http://[::1": "brackets",
    "http://-box": "not a host name",
    "http://b..x": "not a host name",
    "http://" + "b" * 64 + ".local": "not a host name",
    "http://b%00x": "not a host name",
    "http://999.1.1.1": "neither an IP address nor a host name",
    "http://box/a/../v1": ". or ..",
    "http://169.254.169.254/latest": "metadata",
    "http://169.254.1.1:8080": "metadata",
    "http://2852039166": "metadata",
    "http://0xa9.254.0xa9fe": "metadata",
    "http://[::ffff:169.254.169.254]": "metadata",
    "http://169.254.169.254.": "metadata",
    "http://2852039166.": "metadata",
    "http://１６９。254.169.254": "metadata",
    "http://[fd00:ec2::254]": "metadata",
    "http://224.0.0.251:5353": "multicast",
    "http://[ff02::fb]": "multicast",
    "http://[fe80::1%eth0]:8080": "one interface",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_what_must_not_be_called_is_refused_in_a_sentence(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        normalise(text)
    assert "hunter2" not in str(caught.value)


PIECES = (
    "http",
    "https",
    "://",
    ":",
    "/",
    "//",
    "/v1",
    "/models",
    "box",
    "127.0.0.1",
    "[::1]",
    "1",
)
pasted = st.lists(st.sampled_from((*PIECES, *"@#?%[].-\\é")), max_size=9).map("".join)


@given(st.one_of(pasted, pasted.map("http://box".__add__), st.text(max_size=30)))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        base_url = normalise(text)
    except ValueError:
        return
    assert normalise(base_url) == base_url
    assert base_url.startswith(("http://", "https://"))
    assert base_url.isascii()
    assert not urlsplit(base_url).path.endswith(("/", "/v1"))
    assert canonical(base_url, frozenset())


LOCAL = frozenset({"192.168.1.5", "fd00::5", "laptop", "laptop.local"})


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:8080",
        "http://ollama.localhost:8080",
        "http://127.0.0.1:8080",
        "http://127.3.2.1:8080",
        "http://[::1]:8080",
        "http://192.168.1.5:8080",
        "http://[fd00::5]:8080",
        "http://laptop.local:8080",
        "https://laptop:8080",
    ],
)
def test_all_names_of_this_machine_are_one(base_url: str) -> None:
    assert canonical(base_url, LOCAL) == "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("http://192.168.1.6:8080", "192.168.1.6:8080"),
        ("http://[fd00::6]:8080", "[fd00::6]:8080"),
        ("http://localhost", "127.0.0.1:80"),
        ("https://box", "box:443"),
        ("http://localhost:1/ollama", "127.0.0.1:1/ollama"),
    ],
)
def test_other_machines_ports_and_prefixes_differ(base_url: str, key: str) -> None:
    assert canonical(base_url, LOCAL) == key


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:1", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://127.0.0.1.evil.test", False),
        ("http://192.168.1.5", False),
        ("http://[::1", False),
        ("nonsense", False),
    ],
)
def test_loopback_is_told_by_name(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_addresses_of_this_machine_are_kept_and_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "127.0.0.1" in local_addresses(refresh=True)
    monkeypatch.setattr(address, "_interface_addresses", lambda: frozenset({"10.0.0.9"}))
    assert "10.0.0.9" not in local_addresses()
    assert "10.0.0.9" in local_addresses(refresh=True)
    monkeypatch.undo()
    assert "10.0.0.9" not in local_addresses(refresh=True)
