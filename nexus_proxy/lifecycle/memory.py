"""Whether there is room for a model in a GPU's memory, as far as anybody knows.

No backend tells how much memory it has. For one on this machine `nvidia-smi` does; for others the
configuration says how much its loaded models may take. How much they take is told by Ollama
(`size_vram`), and elsewhere guessed by the size of their files.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil

from msgspec import Struct

from nexus_proxy.config.model import LifecycleConfig
from nexus_proxy.registry import Backend
from nexus_proxy.state import ModelInfo

GB = 1_000_000_000
MIB = 1024 * 1024
SMI_SECONDS = 5.0


class Gpu(Struct, frozen=True):
    """Memory of all GPUs of this machine together, in bytes."""

    total: int
    used: int


async def gpu_of_this_machine() -> Gpu | None:
    """What `nvidia-smi` tells; None where there is none, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = ("--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits")
    try:
        process = await asyncio.create_subprocess_exec(
            program, *query, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(SMI_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return _read(said.decode("ascii", "replace"))


def _read(said: str) -> Gpu | None:
    """A line of two numbers, in MiB, for each GPU."""
    rows = [line.split(",") for line in said.splitlines() if line.strip()]
    try:
        sums = [sum(int(cell) for cell in column) for column in zip(*rows, strict=True)]
        total, used = sums
    except ValueError:
        return None
    return Gpu(total * MIB, used * MIB)


def limit(config: LifecycleConfig, gpu: Gpu | None) -> int:
    """Bytes that models may take in all."""
    if gpu is None:
        return int(config.vram_heuristic_max_gb * GB)
    return gpu.total * (100 - config.vram_headroom_percent) // 100


def used(backend: Backend) -> int:
    """Bytes that its loaded models take, as far as is known."""
    if _makes_room(backend):
        return 0
    loaded = [model for model in backend.models.values() if model.loaded and not model.remote]
    return sum(model.vram_bytes or model.size_bytes or 0 for model in loaded)


def refusal(
    backend: Backend, model: ModelInfo, config: LifecycleConfig, gpu: Gpu | None
) -> str | None:
    """Why there is no room for `model`, as a clause; None: there is, or nobody knows."""
    most, taken = limit(config, gpu), used(backend) if gpu is None else gpu.used
    needed = model.size_bytes
    if taken + (needed or 0) <= most:
        return None
    takes = f"it takes some {_gb(needed)}, and " if needed else ""
    of = (
        "lifecycle.vram_heuristic_max_gb"
        if gpu is None
        else f"the GPU's {_gb(gpu.total)} less lifecycle.vram_headroom_percent"
    )
    return (
        f"{takes}{_gb(taken)} of {_gb(most)} ({of}) are taken: unload another model first, or "
        "raise the limit"
    )


def _makes_room(backend: Backend) -> bool:
    """Whether it throws out a model by itself, since it counts them."""
    loaded = sum(model.loaded is True for model in backend.models.values())
    return backend.max_loaded is not None and loaded >= backend.max_loaded


def _gb(number: int) -> str:
    return f"{number / GB:.1f} GB"
