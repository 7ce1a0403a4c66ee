from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nexus_proxy.cli.root import build
from nexus_proxy.config.example import annotated_example
from nexus_proxy.config.paths import config_file


def run(*arguments: str) -> Result:
    before = arguments[:2] if arguments[0].startswith("-") else ()
    return CliRunner().invoke(build(), [*before, "config", *arguments[len(before) :]])


def test_init_writes_the_example_and_replaces_nothing_unasked(elsewhere: Path) -> None:
    first = run("init")
    assert (first.exit_code, first.stderr) == (0, "")
    assert (elsewhere / "nexus.toml").read_text() == annotated_example()
    (elsewhere / "nexus.toml").write_text("mine")
    second = run("init")
    assert second.exit_code == 1
    assert second.stderr == "Error: nexus.toml exists already; --force replaces it\n"
    assert (elsewhere / "nexus.toml").read_text() == "mine"
    assert run("init", "--force").exit_code == 0
    assert (elsewhere / "nexus.toml").read_text() == annotated_example()


def test_init_writes_where_it_is_told(elsewhere: Path) -> None:
    assert run("init", "--output", "deep/er/n.toml").exit_code == 0
    assert run("check", "deep/er/n.toml").output == "deep/er/n.toml is valid\n"
    blocked = run("init", "-o", "deep/er/n.toml/x")
    assert blocked.exit_code == 1
    assert "cannot be written" in blocked.stderr


def test_check_of_a_good_file_and_of_none(elsewhere: Path) -> None:
    none = run("check")
    assert (none.exit_code, none.output) == (0, "there is no file; the defaults are valid\n")
    (elsewhere / "nexus.toml").write_text("[server]\nport = 1\n")
    assert run("check").output == f"{elsewhere}/nexus.toml is valid\n"


def test_check_says_every_error_on_a_line_of_its_own(elsewhere: Path) -> None:
    (elsewhere / "bad.toml").write_text("[server]\nprot = 1\nport = 'x'\n")
    result = run("check", "bad.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "bad.toml:2: server.prot: unknown key (did you mean port?)",
        "bad.toml:3: server.port: must be a whole number from 0 to 65535, but is text",
    ]


@pytest.mark.parametrize("command", [("check",), ("show",), ("path",)])
def test_a_named_file_that_is_missing_is_exit_code_2(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUS_CONFIG", "absent.toml")
    result = run(*command)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: NEXUS_CONFIG: there is no file ")


def test_a_missing_argument_of_check_is_exit_code_2() -> None:
    result = run("check", "absent.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("absent.toml: there is no such file")


def test_show_says_where_each_value_came_from(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = elsewhere / "nexus.toml"
    path.write_text("[routing]\nstrategy = 'random'\n[[backends]]\nname='gpu'\nurl='http://gpu'\n")
    monkeypatch.setenv("NEXUS_PORT", "9000")
    lines = {line.split(" = ")[0].strip(): line for line in run("show").stdout.splitlines()}
    assert lines["server.port"].endswith("= 9000                              # NEXUS_PORT")
    assert lines["server.host"].split("  # ")[1] == "default"
    assert "= 9001 " in run("--port", "9001", "show").stdout
    assert lines["routing.strategy"].split("= ")[1].split() == ['"random"', "#", f"{path}:2"]
    assert lines["backends.gpu.url"].endswith(f"# {path}:5")
    assert len({line.index(" = ") for line in lines.values()}) == 1


def test_show_for_programs(elsewhere: Path) -> None:
    (elsewhere / "n.toml").write_text("[server]\nport = 1\n")
    shown = json.loads(run("--config", "n.toml", "show", "--json").stdout)
    assert shown["config"]["server"]["port"] == 1
    assert shown["origins"]["server.port"] == f"{elsewhere}/n.toml:2"
    assert shown["path"] == f"{elsewhere}/n.toml"


def test_show_of_a_bad_file_is_exit_code_2(elsewhere: Path) -> None:
    (elsewhere / "nexus.toml").write_text("[server]\nprot = 1\nx = 2\n")
    result = run("show")
    assert result.exit_code == 2
    assert "nexus.toml:2: server.prot: unknown key" in result.stderr
    assert "and 1 more problem" in result.stderr


def test_path_says_which_file_and_where_it_looked(elsewhere: Path) -> None:
    assert (run("path").stdout, run("path").exit_code) == ("", 0)
    assert run("path").stderr.startswith("no file is in use")
    (elsewhere / "nexus.toml").write_text("")
    config_file().parent.mkdir(parents=True)
    config_file().write_text("")
    assert run("path").stdout == f"{elsewhere}/nexus.toml\n", "so $(nexus config path) is a path"
    lines = run("path").stderr.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines[1:3]] == ["--config", "$NEXUS_CONFIG"]
    assert lines[3].endswith(f"{elsewhere}/nexus.toml (in use)")
    assert lines[4].endswith(f"{config_file()} (not needed)")
