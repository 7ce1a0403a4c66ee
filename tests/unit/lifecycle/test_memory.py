"""Whether there is room for a model, by what is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_proxy.config.model import BackendType, LifecycleConfig, Zone
from nexus_proxy.lifecycle.memory import GB, MIB, Gpu, gpu_of_this_machine, refusal
from nexus_proxy.registry import Backend
from nexus_proxy.state import ModelInfo, Source, Traits

CONFIG = LifecycleConfig()
TAKEN = "GB are taken"


def box(*models: ModelInfo, max_loaded: int | None = None) -> Backend:
    return Backend(
        name="box",
        url="http://box",
        address="box",
        type=BackendType.OLLAMA,
        traits=Traits(swaps=True),
        source=Source.CONFIG,
        origin="test",
        zone=Zone.RESTRICTED,
        models={model.id: model for model in models},
        max_loaded=max_loaded,
    )


def model(size: float | None, *, loaded: bool = False, vram: float | None = None) -> ModelInfo:
    return ModelInfo(
        id="b" if loaded else "a",
        loaded=loaded,
        size_bytes=None if size is None else int(size * GB),
        vram_bytes=None if vram is None else int(vram * GB),
    )


@pytest.mark.parametrize(
    ("wanted", "others", "gpu", "fits"),
    [
        (model(15), [], None, True),
        (model(17), [], None, False),
        (model(8), [model(9, loaded=True)], None, False),
        (model(8), [model(9, loaded=True, vram=4)], None, True),
        (model(None), [model(9, loaded=True)], None, True),
        (model(None), [model(17, loaded=True)], None, False),
        (model(17), [], Gpu(48 * GB, 0), True),
        (model(17), [], Gpu(48 * GB, 22 * GB), False),
        (model(None), [], Gpu(24 * GB, 20 * GB), False),
    ],
)
def test_room(wanted: ModelInfo, others: list[ModelInfo], gpu: Gpu | None, fits: bool) -> None:
    why = refusal(box(wanted, *others), wanted, CONFIG, gpu)
    assert (why is None) == fits, why


def test_a_router_that_is_full_makes_room_by_itself() -> None:
    wanted, other = model(10), model(10, loaded=True)
    assert refusal(box(wanted, other, max_loaded=1), wanted, CONFIG, None) is None
    assert refusal(box(wanted, other, max_loaded=2), wanted, CONFIG, None) is not None


def test_the_reason_names_the_key_that_decides() -> None:
    wanted = model(17)
    assert "16.0 GB (lifecycle.vram_heuristic_max_gb)" in str(
        refusal(box(wanted), wanted, CONFIG, None)
    )
    assert "less lifecycle.vram_headroom_percent" in str(
        refusal(box(wanted), wanted, CONFIG, Gpu(20 * GB, 0))
    )


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("24576, 1024\n24576, 2048\n", Gpu(49152 * MIB, 3072 * MIB)),
        ("[N/A], [N/A]\n", None),
        ("", None),
        ("No devices were found\n", None),
    ],
)
async def test_nvidia_smi_is_asked_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, found: Gpu | None
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await gpu_of_this_machine() == found


async def test_without_it_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await gpu_of_this_machine() is None
