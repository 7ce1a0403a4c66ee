"""Names that the running gateway has, completed in a real bash."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.contract.cli.terminal import Scene, scene

COMPLETE = """
source <(nexus completions bash)
complete -p nexus > /dev/null || exit 1
COMP_WORDS=(nexus "$@") COMP_CWORD=$#
_nexus_completion nexus
printf '%s\\n' "${COMPREPLY[@]}"
"""


async def completed(here: Scene, *words: str) -> tuple[list[str], str]:
    """What bash offers for the last of the words, and what is said beside."""
    program = here.shell.home / "nexus"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nexus_proxy "$@"\n')
    program.chmod(0o755)
    environ = here.shell.environ
    environ["PATH"] = f"{here.shell.home}:{environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "--norc", "-c", COMPLETE, "bash", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
        cwd=here.shell.home,
    )
    out, err = await process.communicate()
    return out.decode().split(), err.decode()


async def test_names_are_offered_of_what_is_there(tmp_path: Path) -> None:
    offered = {
        ("backends", "dr"): ["drain"],
        ("backends", "drain", ""): ["one", "two"],
        ("backends", "show", "t"): ["two"],
        ("models", "load", "qw"): ["qwen3"],
        ("airplane", ""): ["on", "off"],
        ("requests", "--backend", "o"): ["one"],
        ("requests", "--status", "r"): ["running"],
        ("config", "set", "lifecycle.t"): ["lifecycle.timeout_ms"],
    }
    async with scene(tmp_path, ["qwen3"], ["llama"]) as here:
        found = {words: (await completed(here, *words))[0] for words in offered}
    assert found == offered
    assert await completed(here, "backends", "drain", "") == ([], ""), "no gateway runs any more"
