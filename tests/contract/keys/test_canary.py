"""A secret is nowhere but in its holder's request: a canary looks for it everywhere."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import msgspec
import pytest

from nexus_proxy.config.model import LogFormat, LoggingConfig, LogLevel
from nexus_proxy.telemetry.logs import Logs
from tests.contract.hot.asking import CHAT, body_for, post
from tests.contract.keys.world import OTHER, SECRET, bearer, key_table
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend, faults

CLOUD = "sk-proj-canary0123456789"
ROUTES = (
    "/nexus/v1/state",
    "/nexus/v1/keys",
    "/nexus/v1/config",
    "/nexus/v1/requests",
    "/nexus/v1/commands",
    "/v1/models",
)


async def test_no_secret_in_logs_errors_management_and_snapshot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nexus.toml"
    said: list[str] = []
    config = LoggingConfig(level=LogLevel.DEBUG, format=LogFormat.JSON)
    logs = Logs(config, secrets=(), to_stderr=True)
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway(
            [backend_entry("one", backend.url)],
            path=path,
            logs=logs,
            logging={"level": "debug", "format": "json"},
            routing={"max_retries": 0},
            keys=[key_table(requests_per_minute=4, models=["m"])],
        ) as gateway,
    ):
        for secret in (SECRET, OTHER, CLOUD):
            every = {**bearer(secret), "x-api-key": secret, "api-key": secret}
            for headers in (bearer(secret), every, {"authorization": secret}):
                for model in ("m", "elsewhere"):
                    answer = await post(gateway, body_for(CHAT, model), headers=headers)
                    said += [answer.text, repr(answer.headers)]
        backend.behave(faults.status(500))
        failed = await post(gateway, body_for(CHAT), headers=bearer())
        said += [failed.text, repr(failed.headers)]
        logging.getLogger("nexus_proxy.relay").warning("a careless %s", bearer())
        for route in ROUTES:
            answer = await gateway.client.get(route, headers=bearer())
            assert answer.status_code == 200
            said += [answer.text, repr(answer.headers)]
        added = await gateway.client.post("/nexus/v1/keys", json=key_table("new", OTHER))
        revoked = await gateway.client.post("/nexus/v1/commands/key.revoke", json={"key": "new"})
        said += [added.text, revoked.text]
        said.append(msgspec.json.encode(gateway.runtime.snapshot()).decode())
        said.append(repr(list(gateway.runtime.keyring)))
        said += [repr(request.headers) + repr(request.body) for request in backend.requests]
    stderr = capsys.readouterr().err
    assert "a careless" in stderr
    lines = [line.message for line in logs.ring.lines]
    assert any("a careless" in line for line in lines)
    whole = "\n".join([*said, stderr, *lines, path.read_text()])
    for secret in (SECRET, OTHER, CLOUD):
        assert secret not in whole
        assert json.dumps(secret[8:30]) not in whole
        assert secret[8:30] not in whole
