"""Buckets that processes share: none is taken twice, and none is lost with a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from nexus_proxy.admission.bucket import Bucket
from nexus_proxy.admission.cells import Cells

TAKE = """
import sys
from nexus_proxy.admission.bucket import Bucket
from nexus_proxy.admission.cells import Cells
cells = Cells(int(sys.argv[1]))
bucket, taken = Bucket(1000, cells.cell("ci requests")), 0
for _ in range(1000):
    with cells:
        if not bucket.wait(1, 1.0):
            bucket.take(1, 1.0)
            taken += 1
print(taken)
"""


@pytest.fixture
def handle() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def test_no_unit_is_taken_twice_by_processes_at_once(handle: int) -> None:
    Cells(handle)
    command = [sys.executable, "-c", TAKE, str(handle)]
    taking = [
        subprocess.Popen(command, pass_fds=(handle,), stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    taken = [int(one.communicate(timeout=60)[0]) for one in taking]
    assert sum(taken) == 1000


def test_names_that_meet_in_one_place_are_told_apart(handle: int) -> None:
    cells = Cells(handle, room=4)
    names = ["a", "b", "c", "d"]
    for number, name in enumerate(names, start=1):
        Bucket(60, cells.cell(name)).take(number, 1.0)
    again = Cells(handle, room=4)
    assert [Bucket(60, again.cell(name)).level(1.0) for name in names] == [59, 58, 57, 56]


def test_a_full_table_leaves_each_worker_its_own(
    handle: int, caplog: pytest.LogCaptureFixture
) -> None:
    cells = Cells(handle, room=1)
    cells.cell("a")
    own = cells.cell("b")
    own[0] = 5.0
    assert cells.cell("b")[0] == 0.0
    assert "b is each worker's own" in caplog.text


def test_a_process_that_stopped_with_the_lock_holds_up_nobody(handle: int) -> None:
    Cells(handle)
    script = f"""
import os, signal
from nexus_proxy.admission.cells import Cells
with Cells({handle}):
    os.kill(os.getpid(), signal.SIGSTOP)
"""
    with subprocess.Popen([sys.executable, "-c", script], pass_fds=(handle,)) as holder:
        os.waitpid(holder.pid, os.WUNTRACED)
        with Cells(handle) as cells:
            assert cells is None
        os.kill(holder.pid, signal.SIGCONT)
