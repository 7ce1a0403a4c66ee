"""`nexus keys …`: with a running gateway and without, the secret seen once and kept nowhere."""

from __future__ import annotations

import os
import pty
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nexus_proxy.admission.keys import hash_of
from tests.contract.cli.terminal import Done, Shell, finished, scene
from tests.support.gateway import running_gateway

SECRET = re.compile(r"nxs-[A-Za-z0-9_-]{43}\n")
OPTIONS = [
    *("--zone", "Internal", "--models", "qwen3:*", "--models", "gpt-4o", "--priority", "high"),
    *("--rpm", "60", "--tpm", "1000", "--monthly-limit", "20"),
]
ENTRY = {
    "zone": "internal",
    "models": ["qwen3:*", "gpt-4o"],
    "requests_per_minute": 60,
    "tokens_per_minute": 1000,
    "monthly_limit_usd": 20.0,
    "priority": "high",
}


def secret_of(done: Done) -> str:
    """The secret, which is all that is on standard output."""
    assert (done.code, bool(SECRET.fullmatch(done.out))) == (0, True), done
    return done.out.strip()


def entries(file: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = tomllib.loads(file.read_text()).get("keys", [])
    return entries


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A machine on which no gateway runs: port 9 is nobody's."""
    return Shell(tmp_path, {"NEXUS_PORT": "9"})


async def test_without_a_gateway_the_file_is_changed_and_its_comments_stay(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "nexus.toml"
    file.write_text("# mine\n[server]\nport = 9 # nobody\n")
    secret = secret_of(await shell.nexus("keys", "create", "ci", *OPTIONS))
    assert entries(file) == [{"name": "ci", "hash": hash_of(secret), **ENTRY}]
    assert file.read_text().startswith("# mine\n[server]\nport = 9 # nobody\n")
    assert secret not in file.read_text()
    other = await shell.nexus("keys", "create", "other")
    assert entries(file)[1] == {"name": "other", "hash": hash_of(secret_of(other))}
    assert str(file) in other.err
    listed = await shell.nexus("keys", "list", "--json")
    assert [view["name"] for view in listed.json()] == ["ci", "other"]
    assert secret not in listed.out
    shown = await shell.nexus("config", "show")
    assert secret not in shown.out + shown.err
    revoked = await shell.nexus("keys", "revoke", "ci")
    assert revoked.code == 0
    assert [entry["name"] for entry in entries(file)] == ["other"]


async def test_the_first_key_makes_the_users_own_file(shell: Shell, tmp_path: Path) -> None:
    secret = secret_of(await shell.nexus("keys", "create", "ci"))
    (file,) = tmp_path.rglob("*.toml")
    assert entries(file) == [{"name": "ci", "hash": hash_of(secret)}]
    listed = await shell.nexus("keys", "list")
    assert listed.out.split()[:1] == ["NAME"]
    assert "ci" in listed.out


async def test_a_gateway_that_is_refused_for_want_of_a_key_can_be_given_one(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "nexus.toml").write_text('[server]\nhost = "0.0.0.0"\nport = 9\n')
    refused = await shell.nexus("serve")
    assert refused.code == 2
    assert "nexus keys create" in refused.err
    secret_of(await shell.nexus("keys", "create", "ci"))
    checked = await shell.nexus("config", "check")
    assert checked.code == 0, checked.err


async def test_a_running_gateway_lets_it_in_at_once_and_keeps_it(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        before = here.file.read_text()
        secret = secret_of(await here.nexus("keys", "create", "ci", *OPTIONS))
        assert [key.name for key in here.gateway.runtime.keyring] == ["ci"]
        assert entries(here.file) == [{"name": "ci", "hash": hash_of(secret), **ENTRY}]
        assert here.file.read_text().startswith(before)
        listed = await here.nexus("keys", "list", "--json")
        assert [(v["zone"], v["requests_left"]) for v in listed.json()] == [("internal", 60)]
        models = await here.nexus("models", "--json")  # an operator needs no key
        assert [model["id"] for model in models.json()] == ["m"]
        revoked = await here.nexus("keys", "revoke", "ci")
        assert revoked.out.startswith("ci revoked")
        assert not here.gateway.runtime.keyring.required
        assert here.file.read_text().rstrip() == before.rstrip()
        empty = await here.nexus("keys", "list")
        assert (empty.code, empty.out) == (0, "")
        assert "nexus keys create" in empty.err


async def test_a_named_file_is_changed_though_a_gateway_with_another_one_runs(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other.toml"
    other.touch()
    async with scene(tmp_path, ["m"]) as here:
        secret_of(await here.nexus("-c", str(other), "keys", "create", "ci"))
        assert not here.gateway.runtime.keyring.required
    assert [entry["name"] for entry in entries(other)] == ["ci"]


async def test_a_terminal_is_asked_before_a_key_is_revoked(shell: Shell, tmp_path: Path) -> None:
    await shell.nexus("keys", "create", "ci")
    ours, theirs = pty.openpty()
    try:
        process = await shell.start("keys", "revoke", "ci", stdin=theirs)
        os.write(ours, b"n\n")
        done = await finished(process)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.code == 1
    assert "nothing was changed" in done.err
    (file,) = tmp_path.rglob("*.toml")
    assert [entry["name"] for entry in entries(file)] == ["ci"]


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("create ci", 1, "'ci' exists already"),
        ("create new --rpm 0", 2, "of 1 or more"),
        ("create new --monthly-limit -1", 2, "0 or more"),
        ("create new --monthly-limit nan", 2, "monthly_limit_usd"),
        ("create new --models [", 2, "is not closed"),
        ("create new --zone secret", 2, "restricted"),
        ("create", 2, "NAME"),
        ("revoke nobody", 1, "there are: ci"),
        ("fly", 2, "fly"),
    ],
)
async def test_what_cannot_be_done_says_why_and_prints_no_secret(
    tmp_path: Path, running: bool, arguments: str, code: int, said: str
) -> None:
    file = tmp_path / "nexus.toml"
    file.write_text(
        f'[discovery]\nenabled = false\n[[keys]]\nname = "ci"\nhash = "{hash_of("x")}"\n'
    )
    before = file.read_text()
    if running:
        keys = [{"name": "ci", "hash": hash_of("x")}]
        async with running_gateway(path=file, keys=keys) as gateway:
            shell = Shell(tmp_path, {"NEXUS_PORT": gateway.url.rpartition(":")[2]})
            done = await shell.nexus("keys", *arguments.split())
    else:
        done = await Shell(tmp_path, {"NEXUS_PORT": "9"}).nexus("keys", *arguments.split())
    assert (done.code, done.out) == (code, ""), done
    assert said in done.err
    assert "nxs-" not in done.err
    assert "Traceback" not in done.err
    assert file.read_text() == before


async def test_a_gateway_that_was_named_must_answer(shell: Shell) -> None:
    done = await shell.nexus("keys", "create", "ci", "--url", "http://127.0.0.1:9")
    assert (done.code, done.out) == (3, "")


async def test_programs_read_json(shell: Shell, tmp_path: Path) -> None:
    made = await shell.nexus("keys", "create", "ci", "--json")
    told = made.json()
    assert (made.code, told["name"], told.keys()) == (0, "ci", {"name", "secret"})
    (listed,) = (await shell.nexus("keys", "list", "--json")).json()
    assert listed["name"] == "ci"
    revoked = await shell.nexus("keys", "revoke", "ci", "--json")
    assert "ci revoked" in revoked.json()["message"]


async def test_a_file_that_cannot_be_written_gives_no_key(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "nexus.toml").write_text("[[keys]]\nname = 'x'\nhash = 'nxs-oops'\n")
    done = await shell.nexus("keys", "create", "ci")
    assert (done.code, done.out) == (2, "")
    assert "is not a hash" in done.err
    assert "nxs-oops" not in done.err
