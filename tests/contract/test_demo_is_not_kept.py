"""What is said of the demo backend lasts as long as the demo."""

from __future__ import annotations

from pathlib import Path

from nexus_proxy.state import Source
from tests.support.gateway import running_gateway
from tests.support.scripted import ScriptedBackend


async def test_verbs_on_the_demo_backend_leave_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    before = "[discovery]\nenabled = false\n"
    path.write_text(before)
    async with ScriptedBackend(name="demo") as demo, running_gateway(path=path) as gateway:
        runtime = gateway.runtime
        await runtime.discovery.add_url(demo.url, name="demo", source=Source.DEMO)
        await runtime.run_command("backend.drain", {"backend": "demo"})
        await runtime.run_command("backend.resume", {"backend": "demo"})
        await runtime.run_command("backend.pin", {"model": "m", "backend": "demo"})
        assert runtime.registry.pins == {"m": "demo"}
    assert path.read_text() == before
