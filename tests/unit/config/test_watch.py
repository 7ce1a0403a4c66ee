from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexus_proxy.config import watch as watch_module
from nexus_proxy.config.watch import watch
from nexus_proxy.config.write import ConfigFile
from nexus_proxy.errors import ConfigError
from nexus_proxy.tasks import spawn

INTERVAL = 0.02
DEADLINE = 10.0


class Watched:
    """A file, and what the watcher found in it each time it called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: asyncio.Queue[str] = asyncio.Queue()

    async def changed(self) -> None:
        self.texts.put_nowait(self.read())

    def read(self) -> str:
        return self.path.read_text()

    def write(self, text: str) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(text)

    def remove(self) -> None:
        self.path.unlink()

    def replace(self, text: str) -> None:
        """Put another file in its place that differs by nothing but its inode and its text."""
        other = self.path.with_name("other")
        other.write_text(text)
        stamp = self.path.stat().st_mtime_ns
        os.utime(other, ns=(stamp, stamp))
        other.replace(self.path)

    async def next(self) -> str:
        async with asyncio.timeout(DEADLINE):
            return await self.texts.get()


@asynccontextmanager
async def watching(path: Path, on_change: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    task = spawn(watch(path, on_change, interval=INTERVAL), name="watch")
    await asyncio.sleep(0)  # one turn: the watcher has taken its first look
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


class Looks:
    """Counts how often the watcher looks, so that a test can wait for that and not for time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked = asyncio.Event()
        stamp = watch_module._stamp

        def counted(path: Path) -> watch_module.Stamp | None:
            self.looked.set()
            return stamp(path)

        monkeypatch.setattr(watch_module, "_stamp", counted)

    async def __call__(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE):
            for _ in range(number):
                self.looked.clear()
                await self.looked.wait()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Watched:
    file = Watched(tmp_path / "nexus.toml")
    file.write("first")
    return file


async def test_each_change_is_told_once_and_what_was_there_is_not(
    file: Watched, looks: Looks
) -> None:
    async with watching(file.path, file.changed):
        await looks(5)
        for text in ("second", "thirds"):  # of one length: size alone would not show it
            file.write(text)
            assert await file.next() == text
        await looks(5)
        assert file.texts.empty()


async def test_a_file_is_not_read_while_it_grows(file: Watched) -> None:
    async with watching(file.path, file.changed):
        for length in range(1, 13):
            file.write("x" * length)
            await asyncio.sleep(INTERVAL / 2)
        assert await file.next() == "x" * 12
        assert file.texts.empty()


async def test_a_file_that_goes_and_comes_back_is_told_when_it_is_back(
    file: Watched, looks: Looks
) -> None:
    async with watching(file.path, file.changed):
        file.remove()
        await looks(5)
        assert file.texts.empty()
        file.write("back")
        assert await file.next() == "back"


async def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path, looks: Looks) -> None:
    file = Watched(tmp_path / "later" / "nexus.toml")
    async with watching(file.path, file.changed):
        await looks(3)
        file.write("made")
        assert await file.next() == "made"


async def test_a_replaced_file_and_a_moved_link_are_changes(file: Watched, tmp_path: Path) -> None:
    link, third = Watched(tmp_path / "link.toml"), Watched(tmp_path / "third")
    link.path.symlink_to(file.path)
    async with watching(link.path, link.changed):
        file.replace("other")
        assert await link.next() == "other"
        third.write("third")
        link.remove()
        link.path.symlink_to(third.path)
        assert await link.next() == "third"


async def test_own_writes_are_seen_too(tmp_path: Path) -> None:
    file = Watched(tmp_path / "nexus.toml")
    async with watching(file.path, file.changed):
        ConfigFile(file.path).set_pin("m", "gpu")
        assert await file.next() == '[routing.pins]\nm = "gpu"\n'


@pytest.mark.parametrize(
    "error", [ConfigError("bad", file="n.toml"), PermissionError(13, "Permission denied")]
)
async def test_the_watch_outlives_a_change_that_cannot_be_applied(
    file: Watched, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    failed = asyncio.Event()

    async def apply() -> None:
        if not failed.is_set():
            failed.set()
            raise error
        await file.changed()

    caplog.set_level(logging.WARNING)
    async with watching(file.path, apply):
        file.write("bad")
        async with asyncio.timeout(DEADLINE):
            await failed.wait()
        file.write("good")
        assert await file.next() == "good"
    assert f"was not applied: {error}" in caplog.text
