"""The plan of the house holds: what may be imported where, and how large things may grow."""

from __future__ import annotations

import ast
import asyncio
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import new_loop

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("nexus_proxy", "nexus_tui")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
LEAST_DOCUMENTED = 0.8
TOP_LEVEL = {
    "pyproject.toml",
    "nexus_tui",
    "nexus_proxy",
    "tests",
    "screenshots",
    "README.md",
    "LICENSE",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def test_the_top_level_is_what_the_design_card_says() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {path.split("/")[0] for path in listed}
    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


def test_the_plan_of_the_house_names_every_room() -> None:
    plan = (ROOT / ".github/CONTRIBUTING.md").read_text().partition("## The plan of the house")[2]
    rooms = {
        path.stem
        for path in (ROOT / "nexus_proxy").iterdir()
        if (path / "__init__.py").is_file() or (path.suffix == ".py" and path.stem[0] != "_")
    }
    assert {room for room in rooms if f"`{room}`" not in plan} == set()


@pytest.mark.parametrize("path", sources(*PACKAGES, "tests"), ids=str)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=str)
def test_functions_stay_small(path: Path) -> None:
    long = [
        f"{node.name}: {length}"
        for node in functions(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long


def test_public_functions_of_the_gateway_are_documented() -> None:
    public = [
        node
        for path in sources("nexus_proxy")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
    ]
    documented = [node for node in public if ast.get_docstring(node)]
    assert len(documented) / len(public) >= LEAST_DOCUMENTED


@pytest.mark.parametrize(
    ("modules", "never"),
    [
        ("nexus_proxy.runtime", "textual rich quart hypercorn zeroconf httpx"),
        ("nexus_proxy.cli.run, nexus_proxy.api.front, nexus_proxy.api.app", "textual rich"),
        ("nexus_tui.main", "textual rich quart hypercorn httpx zeroconf tomlkit"),
    ],
)
def test_what_is_imported_before_it_is_wanted(modules: str, never: str) -> None:
    code = (
        f"import sys, {modules}; "
        f"print(*sorted({{m.split('.')[0] for m in sys.modules}} & set({never.split()!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    imported = {
        name.split(".")[0]
        for path in sources(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported_by(node)
    }
    for requirement in project["dependencies"]:
        name = requirement.split(">")[0].split("=")[0].strip().replace("-", "_")
        assert name in imported, f"{name} is a dependency that nothing imports"


def _imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


def test_no_registry_host_is_named() -> None:
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        path = ROOT / name
        if path.suffix in {".png", ".gguf"} or not path.is_file():
            continue
        text = path.read_text(errors="ignore")
        assert not any(host in text for host in hosts), name


def test_a_test_that_hangs_fails_where_it_hangs() -> None:
    def out_of_time(*_: object) -> None:
        pytest.fail("out of time")

    previous = signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    loop = new_loop()
    try:
        with pytest.raises(asyncio.CancelledError, match="out of time"):
            loop.run_until_complete(asyncio.wait_for(asyncio.Event().wait(), 5.0))
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL, "nothing would end it for good"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        loop.close()
