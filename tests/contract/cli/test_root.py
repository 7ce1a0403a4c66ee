"""The root command: what it imports, how it decides to run, how it completes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

from nexus_proxy import __version__
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.root import build
from tests.architecture.test_docs import commands
from tests.contract.cli.terminal import Shell, finished

HEAVY = ("httpx", "quart", "hypercorn", "textual", "rich", "zeroconf", "tomlkit", "uvloop")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {})


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["backends", "--help"], ["completions", "zsh"]]
)
@pytest.mark.parametrize("module", ["nexus_proxy.cli.root", "nexus_tui.main"])
def test_what_only_prints_text_imports_nothing_heavy(module: str, arguments: list[str]) -> None:
    code = (
        f"import sys\nfrom {module} import build\n"
        f"try:\n    build()({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


async def test_the_version_is_the_packages(shell: Shell) -> None:
    done = await shell.nexus("--version")
    assert (done.code, done.out) == (0, f"nexus {__version__}\n")


async def test_every_command_has_help(shell: Shell) -> None:
    root = build(attach=lambda *_, **__: 0)
    runner = CliRunner()
    names = root.list_commands(click.Context(root))
    for name in names:
        done = runner.invoke(root, [name, "--help"])
        assert done.exit_code == 0, (name, done.output)
        assert f"nexus {name}" in done.output
    assert {"attach", "backends", "config", "doctor", "keys", "queue", "serve", "spend"} <= set(
        names
    )


def ran(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], *, there: bool
) -> tuple[list[tuple[str, RunOptions]], str]:
    """What was run, with which options, and what was said on standard error."""
    calls: list[tuple[str, RunOptions]] = []

    def record(how: str, options: RunOptions) -> int:
        calls.append((how, options))
        return 7

    monkeypatch.setattr("nexus_proxy.cli.root._has_terminal", lambda: there)
    monkeypatch.setattr("nexus_proxy.cli.run.run_headless", lambda o: record("headless", o))
    done = CliRunner().invoke(build(run_ui=lambda o: record("screen", o)), arguments)
    assert done.exit_code == 7, done.output
    return calls, done.stderr


def test_with_a_terminal_there_is_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, said = ran(monkeypatch, [], there=True)
    assert calls == [("screen", RunOptions())]
    assert said == ""


def test_without_a_terminal_it_runs_headless_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, said = ran(monkeypatch, [], there=False)
    assert calls == [("headless", RunOptions())]
    assert len(said.splitlines()) == 1
    assert "--no-ui" in said


@pytest.mark.parametrize("arguments", [["--no-ui"], ["serve"], ["serve", "--no-ui"]])
def test_who_asks_for_no_screen_gets_none(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    calls, said = ran(monkeypatch, arguments, there=True)
    assert [how for how, _ in calls] == ["headless"]
    assert said == ""


ALL = ["-c", "x.toml", "-H", "::1", "-p", "9000", "-l", "DEBUG", "--no-discovery"]
ALL += ["--no-health-check", "--demo"]


@pytest.mark.parametrize("arguments", [ALL, ["serve", *ALL], [*ALL[:4], "serve", *ALL[4:]]])
def test_every_option_reaches_the_run(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    ((_, options),), _ = ran(monkeypatch, arguments, there=True)
    assert options == RunOptions(
        config="x.toml",
        host="::1",
        port=9000,
        log_level="debug",
        discovery=False,
        health_check=False,
        demo=True,
    )
    assert options.flags() == {
        "server.host": "::1",
        "server.port": 9000,
        "logging.level": "debug",
        "discovery.enabled": False,
        "health_check.enabled": False,
    }


@pytest.mark.parametrize("arguments", [["-p", "0"], ["serve", "-p", "0"], ["-p", "0", "serve"]])
def test_port_0_is_not_taken_for_no_port(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    ((_, options),), _ = ran(monkeypatch, arguments, there=True)
    assert options.port == 0


def test_what_was_not_given_is_no_flag() -> None:
    assert RunOptions().flags() == {}


def test_attach_gets_address_and_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[str, str | None, bool]] = []

    def attach(url: str, key: str | None, *, read_only: bool) -> int:
        calls.append((url, key, read_only))
        return 5

    monkeypatch.setattr("nexus_proxy.cli.root._has_terminal", lambda: True)
    monkeypatch.setenv("NEXUS_API_KEY", "k")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    root = build(attach=attach)
    runner = CliRunner()
    assert runner.invoke(root, ["attach", "gpu-box:8000/v1"]).exit_code == 5
    assert runner.invoke(root, ["-p", "9001", "attach", "--read-only"]).exit_code == 5
    assert calls == [("http://gpu-box:8000", "k", False), ("http://127.0.0.1:9001", "k", True)]


def test_attach_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexus_proxy.cli.root._has_terminal", lambda: False)
    done = CliRunner().invoke(build(attach=lambda *_, **__: 0), ["attach"])
    assert done.exit_code == 2
    assert "terminal" in done.stderr


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
async def test_completion_scripts_are_complete(shell: Shell, name: str) -> None:
    done = await shell.nexus("completions", name)
    assert done.code == 0
    assert "_NEXUS_COMPLETE" in done.out


async def test_programs_read_about_the_file_as_json(shell: Shell) -> None:
    nothing = (await shell.nexus("config", "path", "--json")).json()
    assert nothing["file"] is None
    assert nothing["looked_for"][0]["by"] == "--config"
    wrong = shell.home / "wrong.toml"
    wrong.write_text("[server]\nprot = 1\n")
    checked = await shell.nexus("config", "check", str(wrong), "--json")
    (problem,) = checked.json()["problems"]
    assert (checked.code, problem["line"], problem["key"]) == (2, 2, "server.prot")
    wrong.write_text("")
    good = await shell.nexus("config", "check", str(wrong), "--json")
    assert (good.code, good.json()) == (0, {"file": str(wrong), "problems": []})


def test_every_command_that_tells_something_tells_it_as_json() -> None:
    silent = {"attach", "serve", "announce", "completions", "config init"}
    group = build(run_ui=lambda _options: 0, attach=lambda *_, **__: 0)
    without = {
        name.removeprefix("nexus ")
        for name, command in commands(group)
        if not isinstance(command, click.Group)
        and not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == silent


async def test_completion_knows_commands_and_zones(shell: Shell) -> None:
    asked = shell.also(_NEXUS_COMPLETE="bash_complete")
    verbs = await asked.also(COMP_WORDS="nexus backends dr", COMP_CWORD="2").nexus()
    zones = await asked.also(COMP_WORDS="nexus backends zone x ", COMP_CWORD="4").nexus()
    assert verbs.out.split() == ["plain,drain"]
    assert "plain,confidential" in zones.out.split()


async def test_a_run_serves_until_it_is_told_to_stop(shell: Shell) -> None:
    process = await shell.start("--port", "0", "--no-discovery")
    assert process.stderr is not None
    line = ""
    while " serves at " not in line:
        line = (await process.stderr.readline()).decode()
        assert line, "it ended before it served"
    url = line.rpartition(" serves at ")[2].strip()
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/health/live")
    process.send_signal(signal.SIGTERM)
    done = await finished(process)
    assert answer.status_code == 200
    assert done.out == ""
    assert "Traceback" not in done.err
