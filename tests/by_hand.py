"""A gateway for trying command-line clients by hand: `python -m tests.by_hand [PORT]`.

Behind it is a scripted backend with the model `m` that first calls a tool of the client, one that
runs a command, and then repeats what came of it. Each request that reaches the backend is told on
standard output, and kept whole in the folder that is named there. Ctrl-C ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import Answer, Exchange, ScriptedBackend, ToolCall

COMMAND = "echo pong-$((40+2))"
RUNNERS = {
    "Bash": {"command": COMMAND, "description": "Says pong"},  # Claude Code
    "exec_command": {"cmd": COMMAND},  # Codex
    "shell_command": {"command": COMMAND},
    "shell": {"command": ["bash", "-c", COMMAND]},
    "run": {"command": COMMAND},  # the scripts in CONTRIBUTING.md
}


def answer_to(asked: dict[str, Any]) -> Answer:
    """A call of the first tool that runs commands; when a result came back, the result."""
    results = [m for m in asked.get("messages", []) if m["role"] == "tool"]
    if results:
        return Answer(text=("The tool ", "said: ", json.dumps(results[-1]["content"])))
    for tool in asked.get("tools", []):
        name = tool["function"]["name"]
        if name.rpartition("__")[2] in RUNNERS:
            arguments = json.dumps(RUNNERS[name.rpartition("__")[2]])
            return Answer(text=("Let me see.",), tool_calls=(ToolCall(name, arguments),))
    return Answer(text=("pong", ", without a tool"))


class Recorder:
    """Answers, and keeps each request."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="by-hand-"))
        self._count = 0

    async def __call__(self, exchange: Exchange) -> None:
        asked = exchange.request.json
        self._count += 1
        path = self.folder / f"{self._count}.json"
        path.write_text(json.dumps(asked, indent=1))
        roles = " ".join(message["role"] for message in asked.get("messages", []))
        tools = [tool["function"]["name"] for tool in asked.get("tools", [])]
        told = f"{path}: {len(exchange.request.body)} bytes, {roles}, {len(tools)} tools"
        sys.stdout.write(f"{told}, stream {exchange.request.streams}\n")
        sys.stdout.flush()
        await answer_to(asked)(exchange)


async def serve(port: int) -> None:
    """Serve until cancelled."""
    async with ScriptedBackend(["m"], name="scripted") as backend:
        recorder = Recorder()
        backend.behave(recorder)
        entries = [backend_entry("scripted", backend.url)]
        async with running_gateway(entries, port=port) as gateway:
            sys.stdout.write(f"{gateway.url}, requests are kept in {recorder.folder}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
