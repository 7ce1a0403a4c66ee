"""curl, which half of all users try first."""

from __future__ import annotations

import asyncio
import shutil


async def curl(*arguments: str) -> bytes:
    """What it prints. Fails when curl does, and after 30 seconds."""
    program = shutil.which("curl")
    assert program is not None, "curl is what half of all users try first"
    asking = await asyncio.create_subprocess_exec(
        *(program, "-sS", "-m", "30", "--noproxy", "*", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asking.communicate()
    assert asking.returncode == 0
    return out
