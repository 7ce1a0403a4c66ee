"""A prompt, an answer and keys are nowhere but with who sent them: a canary looks everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from nexus_proxy.config.model import LogFormat, LoggingConfig, LogLevel
from nexus_proxy.telemetry.logs import Logs
from tests.contract.telemetry.mixed import ANSWER, PROMPT, PROVIDER, SECRET, mixed
from tests.support.scripted import faults

ROUTES = (
    "/metrics",
    "/v1/stats",
    "/v1/history?limit=1000",
    "/v1/models",
    "/health",
    "/nexus/v1/state",
    "/nexus/v1/requests",
    "/nexus/v1/queue",
    "/nexus/v1/quality",
    "/nexus/v1/spend",
    "/nexus/v1/keys",
    "/nexus/v1/config",
)


@pytest.mark.parametrize("style", LogFormat)
async def test_nothing_that_was_said_and_no_key_is_kept_or_told(
    style: LogFormat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = Logs(LoggingConfig(level=LogLevel.DEBUG, format=style), secrets=(), to_stderr=True)
    logging = {"level": "debug", "format": style.value}
    state = tmp_path / "state.db"
    told: list[str] = []
    async with mixed(logs=logs, logging=logging, state={"path": str(state)}) as load:
        await load.load()
        # Backends quote what they refuse, and one quotes the key that it does not know.
        for quoting in (
            faults.status(400, f"cannot tokenize 'x {PROMPT}', sorry"),
            faults.status(500, f"crashed at {PROMPT!r}"),
            faults.status(401, f"Incorrect API key provided: {PROVIDER}"),
            faults.raw(200, json.dumps({"error": {"message": PROMPT}}).encode()),
        ):
            load.cloud.behave(quoting, times=3)
            await load.ask("gpt-4o", max_tokens=5)
            load.cloud.behave()
        for route in ROUTES:
            answer = await load.gateway.client.get(route, headers={"authorization": bearer()})
            assert answer.status_code == 200, route
            told += [answer.text, repr(answer.headers)]
        told.append(msgspec.json.encode(load.gateway.runtime.snapshot()).decode())
        assert any(PROMPT in request.body.decode() for request in load.cloud.generations)
    stderr = capsys.readouterr().err
    assert "nobody-has-this" in stderr
    assert "cannot tokenize 'x […]', sorry" in stderr
    told += [stderr, *(line.message for line in logs.ring.lines)]
    kept = [path.read_bytes() for path in state.parent.glob("state.db*")]
    assert any(b"gpt-4o" in data for data in kept)
    whole = "\n".join(told).encode() + b"".join(kept)
    for canary in (PROMPT, ANSWER, SECRET, PROVIDER, SECRET[4:], PROVIDER[3:]):
        assert canary.encode() not in whole, canary


def bearer() -> str:
    return f"Bearer {SECRET}"
