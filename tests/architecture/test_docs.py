"""What exists is documented, and what is documented exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nexus_proxy.api.paths import HOT, STEERING, TELLING
from nexus_proxy.cli.backends import Verb
from nexus_proxy.cli.root import build
from nexus_proxy.commands import COMMANDS as VERBS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
ROOT_COMMAND = build(run_ui=lambda _options: 0, attach=lambda *_, **__: 0)
HEADER = re.compile(r"\b(?:x-nexus-[a-z-]+|x-request-id|server-timing|retry-after)\b", re.I)
INTERNAL_HEADERS = {"x-nexus-hops"}
"""Spoken between gateways, not with clients."""


def header_names(text: str) -> set[str]:
    return {name.lower() for name in HEADER.findall(text)}


def spoken_headers() -> set[str]:
    """Header names that stand as byte literals in the code of the gateway."""
    found: set[str] = set()
    for path in (ROOT / "nexus_proxy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                literal = node.value.decode("latin-1")
                if HEADER.fullmatch(literal):
                    found.add(literal.lower())
    return found - INTERNAL_HEADERS


def commands(group: click.Group, prefix: str = "nexus") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


def test_every_header_is_in_the_readme_and_every_one_there_exists() -> None:
    assert header_names(README) == spoken_headers()


@pytest.mark.parametrize("option", [p for p in ROOT_COMMAND.params if p.name != "version"], ids=str)
def test_every_run_option_is_in_the_readme(option: click.Parameter) -> None:
    assert all(f"`{name}" in README or f"/{name}" in README for name in option.opts)


def test_every_command_is_in_the_readme_and_every_one_there_exists() -> None:
    existing = {name for name, _ in commands(ROOT_COMMAND)}
    named = set()
    for code in re.findall(r"`(nexus [a-z][^`]*)`", README):
        words = code.replace("\\|", "|").split()
        named |= {f"nexus {word}" for word in words[1].split("|")}
        if len(words) > 2 and "|" in words[2]:
            named |= {f"nexus {words[1]} {word}" for word in words[2].split("|")}
        elif len(words) > 2:
            named |= existing & {" ".join(words[:3])}
    named -= {f"nexus completions {shell}" for shell in ("bash", "zsh", "fish")}
    assert {name for name in named if name not in existing} == set()
    assert {name for name in existing if name not in named} == set()


@pytest.mark.parametrize(("name", "command"), list(commands(ROOT_COMMAND)), ids=lambda v: str(v))
def test_every_command_and_option_explains_itself(name: str, command: click.Command) -> None:
    assert command.help, name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize(
    ("name", "command"),
    [(n, c) for n, c in commands(ROOT_COMMAND) if isinstance(c, Verb) and c.needed],
    ids=lambda v: str(v),
)
def test_every_verb_tells_its_arguments_and_has_an_example_that_holds(
    name: str, command: Verb
) -> None:
    told = command.get_help(click.Context(command, info_name=name, terminal_width=80))
    assert all(argument.help in " ".join(told.split()) for argument in command.needed)
    example = told.rpartition("Example:")[2].split()
    assert " ".join(example).startswith(f"{name} ")
    command.make_context(name, example[len(name.split()) :])


def test_every_key_of_a_verb_is_in_the_readme() -> None:
    keys = {verb.key for verb in VERBS if verb.key}
    assert {key for key in keys if f"`{key}`" not in README} == set()


def test_every_route_is_in_the_readme() -> None:
    health = ("/health", "/health/live", "/health/ready")
    for path in (*HOT, *TELLING, *STEERING, "/v1/models", *health):
        assert f"`{path}`" in README or f" {path}`" in README, path


def test_every_environment_variable_is_in_the_readme() -> None:
    source = "".join(path.read_text() for path in (ROOT / "nexus_proxy").rglob("*.py"))
    for name in set(re.findall(r'"(NEXUS_[A-Z_]+)"', source)):
        assert name in README, name


def test_the_set_up_commands_are_two() -> None:
    commands_marked = re.findall(r"<!-- (\w+) command -->\n```sh\n(.+)\n```", README)
    assert [name for name, _ in commands_marked] == ["demo", "test"]
    assert all(line.startswith("python3 -m venv ") for _, line in commands_marked)
