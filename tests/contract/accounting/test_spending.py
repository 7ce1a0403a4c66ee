"""The summary that screens show: read when somebody looks and something changed, and told of."""

from __future__ import annotations

import msgspec
import pytest

from nexus_proxy.accounting import spending
from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.state import Snapshot, SpendSummary
from nexus_proxy.store.sqlite import Store
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.heard import Heard
from tests.support.scripted import ScriptedBackend

MODEL = "gpt-4o"
KEY = {"OPENAI_API_KEY": "sk-test-0123456789"}
COST = (7 * 2.5 + 4 * 10) / 1e6


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "LEAST_SECONDS", 0.0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One for each time that something is read from the file."""
    seen: list[object] = []
    read = Store.read

    async def counted(self: Store, job: object) -> object:
        seen.append(job)
        return await read(self, job)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "read", counted)
    return seen


def paid(url: str) -> dict[str, object]:
    return backend_entry("cloud", url, type="openai", api_key_env="OPENAI_API_KEY")


async def shown(gateway: RunningGateway, heard: Heard, requests: int) -> SpendSummary:
    """The summary once it knows of so many requests; looked at after each event, as a screen."""
    found: list[SpendSummary] = []

    def is_there() -> bool:
        summary = gateway.runtime.snapshot().spend
        if summary is None or sum(row.requests for row in summary.models) < requests:
            return False
        found.append(summary)
        return True

    await heard.until(is_there)
    return found[-1]


async def caught_up(gateway: RunningGateway) -> None:
    """Look until there is nothing new to read."""
    gateway.runtime.history.settle()
    while True:
        gateway.runtime.snapshot()
        reading = gateway.runtime.spending._reading
        if reading is None:
            return
        await reading


async def test_a_look_leads_to_a_summary_that_goes_on() -> None:
    async with ScriptedBackend([MODEL]) as cloud, ScriptedBackend(["m"]) as local:
        entries = [paid(cloud.url), backend_entry("local", local.url)]
        async with running_gateway(entries, environ=KEY) as gateway:
            heard = Heard(gateway.runtime.bus)
            assert (await gateway.chat(MODEL)).status_code == 200
            one = await shown(gateway, heard, 1)
            assert one.models[0].usd_measured == pytest.approx(COST)
            assert one.days[-1].requests == 1
            assert (await gateway.chat("m")).status_code == 200
            two = await shown(gateway, heard, 2)
            assert [(row.label, row.free_requests) for row in two.backends] == [
                ("cloud", 0),
                ("local", 1),
            ]


async def test_nobody_looks_so_nothing_is_read(reads: list[object]) -> None:
    async with (
        ScriptedBackend([MODEL]) as cloud,
        running_gateway([paid(cloud.url)], environ=KEY) as gateway,
    ):
        reads.clear()  # what the start reads
        for _ in range(5):
            await gateway.chat(MODEL)
        await gateway.runtime.ledger.report(None, "day")
        assert len(reads) == 1


async def test_looking_again_reads_nothing_while_nothing_has_changed(reads: list[object]) -> None:
    async with (
        ScriptedBackend([MODEL]) as cloud,
        running_gateway([paid(cloud.url)], environ=KEY) as gateway,
    ):
        heard = Heard(gateway.runtime.bus)
        await gateway.chat(MODEL)
        await shown(gateway, heard, 1)
        await caught_up(gateway)
        reads.clear()
        for _ in range(3):
            gateway.runtime.snapshot()
        assert gateway.runtime.spending._reading is None
        assert not reads


async def test_it_goes_over_http_to_who_attaches() -> None:
    async with (
        ScriptedBackend([MODEL]) as cloud,
        running_gateway([paid(cloud.url)], environ=KEY) as gateway,
    ):
        heard = Heard(gateway.runtime.bus)
        await gateway.chat(MODEL)
        known = await shown(gateway, heard, 1)
        answer = await gateway.client.get("/nexus/v1/state")
        assert msgspec.json.decode(answer.content, type=Snapshot).spend == known


async def test_a_file_that_cannot_be_read_leaves_what_was_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        ScriptedBackend([MODEL]) as cloud,
        running_gateway([paid(cloud.url)], environ=KEY) as gateway,
    ):
        heard = Heard(gateway.runtime.bus)
        await gateway.chat(MODEL)
        known = await shown(gateway, heard, 1)

        async def refused(*_arguments: object) -> None:
            raise StoreUnavailableError("the disk is gone")

        monkeypatch.setattr(Store, "read", refused)
        assert (await gateway.chat(MODEL)).status_code == 200
        await caught_up(gateway)
        assert gateway.runtime.snapshot().spend == known


async def test_after_the_end_nothing_is_started() -> None:
    async with running_gateway([], wait_up=False) as gateway:
        pass
    assert gateway.runtime.snapshot().spend is gateway.runtime.spending.look()
    assert gateway.runtime.spending._reading is None
