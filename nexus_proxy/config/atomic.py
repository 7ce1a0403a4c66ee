"""Replaces a file in one step, so that nobody ever sees half of it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def content(path: Path) -> bytes:
    """The bytes of a file; none where it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def replace(path: Path, data: bytes, *, expected: bytes) -> bool:
    """Put `data` in the place of `expected`. False, and nothing done, if that is not there.

    A symbolic link stays one, and its target keeps mode and owner. What is written survives a
    power cut once this has returned. Raises `OSError`, with the old file whole.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            _copy_rights(target, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if content(target) != expected:
            return False
        os.replace(temporary, target)
    finally:
        with suppress(FileNotFoundError):  # after the rename it has the other name
            os.unlink(temporary)
    _sync_folder(target.parent)
    return True


def _copy_rights(target: Path, handle: int) -> None:
    with suppress(FileNotFoundError):
        old = target.stat()
        os.fchmod(handle, old.st_mode & 0o7777)
        with suppress(PermissionError):  # only root may give a file away
            os.fchown(handle, old.st_uid, old.st_gid)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
