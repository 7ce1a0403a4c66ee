"""What an address is found to be, by asking servers over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from nexus_proxy.backends.fingerprint import Fingerprint, IsNexus, NotABackend, fingerprint
from nexus_proxy.config.model import BackendType
from tests.support import fake_backends as fakes
from tests.support.scripted import Behaviour, ScriptedBackend, faults

Factory = Callable[[], ScriptedBackend]

KINDS: dict[str, tuple[Factory, BackendType, str | None]] = {
    "llama.cpp": (fakes.llamacpp, BackendType.LLAMACPP, "b10068-571d0d5"),
    "llama.cpp loading": (fakes.llamacpp_loading, BackendType.LLAMACPP, None),
    "llama.cpp router": (fakes.llamacpp_router, BackendType.LLAMACPP, "b10068-571d0d5"),
    "Ollama": (fakes.ollama, BackendType.OLLAMA, "0.33.0"),
    "Ollama, empty": (lambda: fakes.ollama([]), BackendType.OLLAMA, "0.33.0"),
    "LM Studio": (fakes.lmstudio, BackendType.LMSTUDIO, None),
    "LM Studio 0.3": (lambda: fakes.lmstudio(version=0), BackendType.LMSTUDIO, None),
    "LM Studio, old": (lambda: fakes.lmstudio(version=-1), BackendType.LMSTUDIO, None),
    "vLLM": (fakes.vllm, BackendType.VLLM, "0.32.0"),
    "exo": (fakes.exo, BackendType.EXO, None),
    "MLX-LM": (fakes.mlx, BackendType.GENERIC, None),
    "Lemonade": (fakes.lemonade, BackendType.GENERIC, None),
    "KoboldCpp": (fakes.koboldcpp, BackendType.GENERIC, None),
    "imitator of Ollama": (fakes.digestless, BackendType.GENERIC, None),
    "reseller": (fakes.reseller, BackendType.GENERIC, None),
}


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/v1", "//v1/chat/completions"])
@pytest.mark.parametrize(("make", "type_", "version"), KINDS.values(), ids=KINDS)
async def test_kind_of_every_server_under_every_spelling(
    client: httpx.AsyncClient, make: Factory, type_: BackendType, version: str | None, ending: str
) -> None:
    async with make() as server:
        found = await fingerprint(client, server.url + ending)
    assert (found.type, found.base_url, found.version) == (type_, server.url, version)
    assert not found.needs_key
    assert found.evidence


async def test_scheme_may_be_missing(client: httpx.AsyncClient) -> None:
    async with fakes.vllm() as server:
        found = await fingerprint(client, f"localhost:{server.port}")
    assert found.base_url == f"http://localhost:{server.port}"


@pytest.mark.parametrize(
    ("make", "type_"), [(fakes.ollama, BackendType.OLLAMA), (fakes.lmstudio, BackendType.LMSTUDIO)]
)
async def test_own_api_path_is_taken_off(
    client: httpx.AsyncClient, make: Factory, type_: BackendType
) -> None:
    async with make() as server:
        found = await fingerprint(client, f"{server.url}/api/")
        assert (found.type, found.base_url) == (type_, server.url)
        assert (await fingerprint(client, f"{server.url}/api/v1")).base_url == server.url


async def test_a_prefix_that_serves_a_model_list_stays(client: httpx.AsyncClient) -> None:
    async with fakes.lemonade() as server:
        found = await fingerprint(client, f"{server.url}/api/v1")
    assert (found.type, found.base_url) == (BackendType.GENERIC, f"{server.url}/api")


LOCKED: dict[str, tuple[Factory, BackendType]] = {
    "llama.cpp": (lambda: fakes.llamacpp(key="k1"), BackendType.LLAMACPP),
    "vLLM": (lambda: fakes.vllm(key="k1"), BackendType.VLLM),
    "LM Studio": (lambda: fakes.lmstudio(key="k1"), BackendType.LMSTUDIO),
    "unknown": (lambda: fakes.openai_cloud("k1"), BackendType.GENERIC),
}


@pytest.mark.parametrize("key", [None, "wrong", "k1"])
@pytest.mark.parametrize(("make", "type_"), LOCKED.values(), ids=LOCKED)
async def test_asking_for_a_key_is_told_apart(
    client: httpx.AsyncClient, make: Factory, type_: BackendType, key: str | None
) -> None:
    async with make() as server:
        found = await fingerprint(client, server.url, api_key=key)
    assert (found.type, found.needs_key) == (type_, key != "k1")


async def test_openai_is_known_by_its_host_without_asking(client: httpx.AsyncClient) -> None:
    found = await fingerprint(client, "https://API.openai.com/v1/")
    assert found == Fingerprint(
        type=BackendType.OPENAI,
        base_url="https://api.openai.com",
        evidence="the host is api.openai.com",
        needs_key=True,
    )


async def test_nexus_recognises_itself(client: httpx.AsyncClient) -> None:
    async with fakes.nexus("node-7") as server:
        with pytest.raises(IsNexus) as caught:
            await fingerprint(client, server.url)
    assert caught.value.node_id == "node-7"


async def test_a_hostile_node_id_is_not_repeated(client: httpx.AsyncClient) -> None:
    async with fakes.nexus("x[/red]" * 90) as server:
        with pytest.raises(IsNexus) as caught:
            await fingerprint(client, server.url)
    assert caught.value.node_id == "unreadable"


@pytest.mark.parametrize("behaviour", fakes.NO_BACKENDS.values(), ids=fakes.NO_BACKENDS)
async def test_what_is_no_backend_is_refused_with_a_reason(
    client: httpx.AsyncClient, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nexus_proxy.backends.fingerprint.READ", 0.3)
    async with fakes.saying(behaviour) as server:
        with pytest.raises(NotABackend) as caught:
            await fingerprint(client, server.url)
    assert str(caught.value)


async def test_reasons_are_those_that_help(client: httpx.AsyncClient) -> None:
    async with fakes.saying(faults.html) as page, fakes.vllm() as gone:
        with pytest.raises(NotABackend, match="a web page"):
            await fingerprint(client, page.url)
        gone.refuse()
        with pytest.raises(NotABackend, match="connection refused"):
            await fingerprint(client, gone.url)
    with pytest.raises(NotABackend, match="metadata"):
        await fingerprint(client, "http://169.254.169.254/latest")


async def test_tls_at_a_plain_port(client: httpx.AsyncClient) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotABackend, match="try http://"):
            await fingerprint(client, f"https://127.0.0.1:{port}")
