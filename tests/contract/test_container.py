"""What can be held of the container without one: its files, its variables, its health check."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

from nexus_proxy.config import overrides
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / ".github" / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text().replace("\\\n", " ")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignore = Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.M)
        for source in line.split()[:-1]
        if not source.startswith("--")
    ]
    assert {"pyproject.toml", "nexus_proxy", "nexus_tui"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore
    compose = DOCKERFILE.with_name("compose.yaml").read_text()
    for key, base in (("context", DOCKERFILE.parent), ("dockerfile", ROOT)):
        (path,) = re.findall(rf"^ +{key}: (.+)$", compose, re.M)
        assert (base / path).resolve() in (ROOT, DOCKERFILE)


def test_it_runs_as_nobody_in_particular_and_its_variables_exist() -> None:
    assert int(re.findall(r"^USER (\d+)$", TEXT, re.M)[-1]) > 0
    source = Path(overrides.__file__).read_text()
    for name in re.findall(r"\b(NEXUS_\w+)=", TEXT):
        assert f'"{name}"' in source, name


async def health_check(gateway: RunningGateway) -> int:
    """The exit code of the health check's command."""
    (command,) = re.findall(r"HEALTHCHECK .* CMD (\[.+\])$", TEXT, re.M)
    python, *arguments = json.loads(command)
    assert python == "python"
    port = gateway.url.rpartition(":")[2]
    # A proxy in the container's environment is none for itself.
    environ = {"NEXUS_PORT": port, "http_proxy": "http://127.0.0.1:1"}
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", *arguments, env=environ, stderr=quiet
    )
    return await process.wait()


async def test_it_is_healthy_while_a_backend_serves() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        assert await health_check(gateway) == 0
        gateway.runtime.registry.set_drained("one", True)
        assert await health_check(gateway) == 1
