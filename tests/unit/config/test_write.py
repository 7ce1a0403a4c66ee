from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nexus_proxy.config.keys import KeyPath, named
from nexus_proxy.config.load import load
from nexus_proxy.config.locate import locate
from nexus_proxy.config.model import BackendConfig, BackendType
from nexus_proxy.config.paths import config_file
from nexus_proxy.config.write import ConfigFile
from nexus_proxy.errors import CommandError
from tests.unit.config.strategies import BACKENDS, NAMES, files

Write = Callable[[ConfigFile], None]

FILE = """\
# my gateway
[server]
port = 9000  # the old one was taken

# how it chooses
[routing]
strategy = "random"

# who goes where
[routing.pins]
"qwen3:8b" = "laptop"

# --- machines ---

# in the bag
[[backends]]
name = "laptop"
url = "http://localhost:11434/"   # Ollama
zone = "Restricted"

# under the desk
[[backends]]
name = "gpu"
url = "http://gpu:8000"

# the rest
[discovery]
mdns = false
# nothing below
"""


def entry(name: str, url: str = "http://x", **keys: object) -> BackendConfig:
    return BackendConfig(name=name, url=url, **keys)  # type: ignore[arg-type]


def changes(before: str, after: str) -> list[str]:
    """The lines that went and came, with the line above and the line below."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "nexus.toml"
    path.write_text(FILE)
    return path


LAPTOP = "http://localhost:11434/"
CHANGES: list[tuple[Write, list[str]]] = [
    (
        lambda f: f.set("server.port", 1),
        [
            " [server]",
            "-port = 9000  # the old one was taken",
            "+port = 1  # the old one was taken",
            " ",
        ],
    ),
    (
        lambda f: f.set("server.host", "::1"),
        [" port = 9000  # the old one was taken", '+host = "::1"', " "],
    ),
    (
        lambda f: f.set("routing.max_retries", 3),
        [' strategy = "random"', "+max_retries = 3", " "],
    ),
    (
        lambda f: f.set("discovery.enabled", True),
        [" mdns = false", "+enabled = true", " # nothing below"],
    ),
    (
        lambda f: f.set("routing.weights.load", 1),
        [' "qwen3:8b" = "laptop"', "+", "+[routing.weights]", "+load = 1", " "],
    ),
    (
        lambda f: f.set("timeouts.idle_seconds", 2.5),
        [" # nothing below", "+", "+[timeouts]", "+idle_seconds = 2.5"],
    ),
    (
        lambda f: f.set_pin("gpt-4.1", "gpu"),
        [' "qwen3:8b" = "laptop"', '+"gpt-4.1" = "gpu"', " "],
    ),
    (
        lambda f: f.set_pin("qwen3:8b", "gpu"),
        [" [routing.pins]", '-"qwen3:8b" = "laptop"', '+"qwen3:8b" = "gpu"', " "],
    ),
    (lambda f: f.remove_pin("qwen3:8b"), [" [routing.pins]", '-"qwen3:8b" = "laptop"', " "]),
    (lambda f: f.remove_pin("nothing"), []),
    (
        lambda f: f.put_backend(entry("gpu", "http://gpu:8000", drained=True, priority=1)),
        [' url = "http://gpu:8000"', "+priority = 1", "+drained = true", " "],
    ),
    (lambda f: f.put_backend(entry("laptop", LAPTOP, zone="restricted")), []),
    (
        lambda f: f.put_backend(entry("laptop", LAPTOP, zone="open")),
        [
            ' url = "http://localhost:11434/"   # Ollama',
            '-zone = "Restricted"',
            '+zone = "open"',
            " ",
        ],
    ),
    (
        lambda f: f.put_backend(entry("laptop", LAPTOP)),
        [' url = "http://localhost:11434/"   # Ollama', '-zone = "Restricted"', " "],
    ),
    (
        lambda f: f.add_backend(entry("new", type=BackendType.VLLM, tags=["a"])),
        [
            " ",
            "+[[backends]]",
            '+name = "new"',
            '+url = "http://x"',
            '+type = "vllm"',
            '+tags = ["a"]',
            "+",
            " # the rest",
        ],
    ),
    (
        lambda f: f.remove_backend("gpu"),
        [
            " # under the desk",
            "-[[backends]]",
            '-name = "gpu"',
            '-url = "http://gpu:8000"',
            " ",
        ],
    ),
    (lambda f: f.remove_backend("nobody"), []),
]


@pytest.mark.parametrize(("write", "lines"), CHANGES)
def test_only_what_changes_changes(path: Path, write: Write, lines: list[str]) -> None:
    write(ConfigFile(path))
    assert changes(FILE, path.read_text()) == lines
    load(str(path), environ={})


def test_comments_stay_above_what_they_are_about(path: Path) -> None:
    file = ConfigFile(path)
    file.remove_backend("laptop")
    file.add_backend(entry("new"))
    assert '# in the bag\n\n# under the desk\n[[backends]]\nname = "gpu"' in file.text()
    assert 'name = "new"\nurl = "http://x"\n\n# the rest\n[discovery]' in file.text()
    file.remove_backend("gpu")
    file.remove_backend("new")
    assert re.search(r"# under the desk\n+# the rest\n\[discovery\]\n", file.text())
    assert "backends" not in tomllib.loads(file.text())


def test_removing_a_backend_removes_the_pins_to_it(path: Path) -> None:
    path.write_text(f"{FILE}\nenabled = false\n")  # so that a pin to nobody would be refused
    ConfigFile(path).remove_backend("laptop")
    assert load(str(path), environ={}).config.routing.pins == {}


def test_the_first_write_makes_the_users_file() -> None:
    file = ConfigFile(None)
    assert file.path == config_file()
    assert file.text() == ""
    file.set_pin("m", "gpu")
    file.add_backend(entry("gpu"))
    assert file.text() == (
        '[routing.pins]\nm = "gpu"\n\n[[backends]]\nname = "gpu"\nurl = "http://x"\n'
    )
    assert load(environ={}).path == str(config_file())


@pytest.mark.parametrize(
    "text",
    [
        'backends = [{ name = "a", url = "http://a" }]\n',
        'backends = [\n  { name = "a", url = "http://a" },  # one\n  # no more\n]\n',
        'routing = { pins = { m = "a" } }\n',
        'routing.pins.m = "a"\nrouting.strategy = "random"\n',
        'routing.strategy = "random"\n[server]\nport = 1\n',
        '[routing]\npins.m = "a"\n[server]\nport = 1\n',
        '[routing.aliases]\nx = "y"\n\n[server]\nport = 1\n\n[routing]\nmax_retries = 1\n',
        '[[backends]]\nname = "a"\nurl = "http://a"\n[server]\n[[backends]]\nname = "b"\nurl = "http://b"',
        "# nothing but a comment",
        "[routing.pins]\n\n[[routing.policies]]\nmodel_pattern = '*'\n\n# end",
    ],
)
def test_odd_layouts_are_edited_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(text)
    before = load(str(path), environ={}).config
    file = ConfigFile(path)
    file.set_pin("n", "b")
    file.add_backend(entry("c"))
    file.put_backend(entry("c", priority=7))
    file.set("server.port", 5)
    after = load(str(path), environ={}).config
    assert after.routing.pins == {**before.routing.pins, "n": "b"}
    assert after.backends == [*before.backends, entry("c", priority=7)]
    assert after.server.port == 5
    assert re.findall("#.*", file.text()) == re.findall("#.*", text)
    file.remove_backend("c")
    assert load(str(path), environ={}).config.backends == before.backends


def test_line_ends_and_a_missing_last_one_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_bytes(b"# x\r\n[server]\r\nport = 1")
    ConfigFile(path).set_pin("m", "gpu")
    assert path.read_bytes() == (
        b'# x\r\n[server]\r\nport = 1\r\n\r\n[routing.pins]\r\nm = "gpu"\r\n'
    )


def test_the_file_is_read_anew_at_each_write(path: Path) -> None:
    file = ConfigFile(path)
    file.set("server.port", 1)
    path.write_text("# started over\n")
    file.set("server.port", 2)
    assert path.read_text() == "# started over\n\n[server]\nport = 2\n"


def test_somebody_elses_save_during_a_write_is_not_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def save_meanwhile(handle: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        path.write_text(f"{FILE}# added by the user\n")

    monkeypatch.setattr(os, "fsync", save_meanwhile)
    ConfigFile(path).set("server.port", 1)
    assert "port = 1  #" in path.read_text()
    assert path.read_text().endswith("# added by the user\n")


def test_a_file_that_never_rests_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _handle: path.write_text(path.read_text() + "#\n"))
    with pytest.raises(CommandError, match="another program keeps changing it"):
        ConfigFile(path).set("server.port", 1)
    assert "port = 9000" in path.read_text()
    assert [f.name for f in path.parent.iterdir() if "nexus" in f.name] == ["nexus.toml"]


def test_links_and_rights_stay(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "real.toml"
    target.parent.mkdir()
    target.write_text(FILE)
    target.chmod(0o640)
    link = tmp_path / "nexus.toml"
    link.symlink_to("dotfiles/real.toml")
    ConfigFile(link).set("server.port", 1)
    assert link.is_symlink()
    assert "port = 1" in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(CommandError) as caught:
        ConfigFile(path).set("server.port", 1)
    assert str(caught.value) == (
        f"The change is live, but it was not kept in {path}, and ends with this run: "
        "no space left on device."
    )
    assert path.read_text() == FILE
    assert [f.name for f in path.parent.iterdir() if "nexus" in f.name] == ["nexus.toml"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"not kept in .*: not a directory"):
        ConfigFile(tmp_path / "file" / "nexus.toml").set("server.port", 1)


@pytest.mark.parametrize(
    "write",
    [
        lambda f: f.set("server.port", 70000),
        lambda f: f.set("server.prot", 1),
        lambda f: f.set("server", 1),
        lambda f: f.add_backend(entry("gpu")),
        lambda f: f.add_backend(entry("new", "http://me:hunter2@x")),
        lambda f: f.set_pin("bad\nname", "gpu"),
        lambda f: f.set("routing.aliases.a", "a"),
    ],
)
def test_a_write_never_makes_a_file_that_would_not_load(path: Path, write: Write) -> None:
    with pytest.raises(CommandError, match=r"The change is live, but .* it would not load") as why:
        write(ConfigFile(path))
    assert "hunter2" not in str(why.value)
    assert path.read_text() == FILE


def test_a_file_that_does_not_load_is_not_touched(path: Path) -> None:
    path.write_text("[server]\nport = ")
    with pytest.raises(CommandError, match=r"nexus\.toml:2: is not valid TOML"):
        ConfigFile(path).set("server.port", 1)
    assert path.read_text() == "[server]\nport = "


@pytest.mark.parametrize("result", ["", "[server]\nport = 2\n", "= broken", RuntimeError("odd")])
def test_an_edit_that_goes_wrong_is_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, result: str | Exception
) -> None:
    def misedit(*_: object) -> str:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr("nexus_proxy.config.edit.edit", misedit)
    with pytest.raises(CommandError, match="its layout is one that Nexus cannot edit"):
        ConfigFile(path).set("server.port", 1)
    assert path.read_text() == FILE


def commented(text: str) -> dict[str, int]:
    """Comment -> its line."""
    lines = enumerate(text.split("\n"), 1)
    return {found[0]: at for at, line in lines if (found := re.search(r"# comment \d+", line))}


def lines_gone(before: str, after: str) -> set[int]:
    """Lines of the keys that are no longer there; of a backend, all from first to last."""
    old, new = tomllib.loads(before), tomllib.loads(after)
    left = {named(path, new) for path in locate(after)}
    gone: dict[KeyPath, list[int]] = {}
    for place, line in locate(before).items():
        path = named(place, old)
        if path not in left:
            is_entry = path[0] == "backends" and path[:2] not in left
            gone.setdefault(path[:2] if is_entry else path, []).append(line)
    return {line for found in gone.values() for line in range(min(found), max(found) + 1)}


@settings(
    deadline=None,
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a layout cannot be made simpler
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(text=files(), data=st.data())
def test_any_write_to_any_good_file(tmp_path: Path, text: str, data: st.DataObject) -> None:
    """Writes do what they say, touch nothing else, and lose no comment that is not inside."""
    path = tmp_path / "nexus.toml"
    path.write_text(text)
    file = ConfigFile(path)
    before = load(str(path), environ={}).config
    known = [backend.name for backend in before.backends]
    verb = data.draw(st.sampled_from(["put", "remove", "pin", "unpin", "set"]))
    backends = {backend.name: backend for backend in before.backends}
    pins, port = dict(before.routing.pins), before.server.port
    if verb == "put":
        new = data.draw(BACKENDS)
        backends[new.name] = new
        file.put_backend(new)
    elif verb == "remove":
        name = data.draw(st.sampled_from([*known, "nobody"]))
        backends.pop(name, None)
        pins = {model: backend for model, backend in pins.items() if backend != name}
        file.remove_backend(name)
    elif verb == "pin":
        model, name = data.draw(NAMES), data.draw(NAMES)
        pins[model] = name
        file.set_pin(model, name)
    elif verb == "unpin":
        model = data.draw(st.sampled_from([*pins, "nothing"]))
        pins.pop(model, None)
        file.remove_pin(model)
    else:
        port = data.draw(st.integers(0, 65535))
        file.set("server.port", port)
    after = load(str(path), environ={}).config
    assert {backend.name: backend for backend in after.backends} == backends
    assert after.routing.pins == pins
    assert after.server.port == port
    assert after.timeouts == before.timeouts
    assert after.logging == before.logging
    assert after.routing.policies == before.routing.policies
    if verb in ("pin", "set"):
        assert len([line for line in changes(text, file.text()) if line.startswith("-")]) <= 1
    kept = commented(file.text())
    lost = {line for comment, line in commented(text).items() if comment not in kept}
    assert lost <= lines_gone(text, file.text())
