"""What the kernel says a process used: CPU and memory, with its descendants. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its descendants have used.

    From the scheduler's account of each process, which is exact and remembers threads that ended;
    the sum in `/proc/<pid>/stat` counts in hundredths of a second.
    """
    return sum(_cpu_clock(one) for one in tree(pid))


def rss_bytes(pid: int) -> int:
    """Memory of a process and its descendants. What they share counts for each."""
    return sum(_resident_pages(one) for one in tree(pid)) * os.sysconf("SC_PAGE_SIZE")


def machine_seconds() -> float:
    """CPU time that anything on this machine has used."""
    user, nice, system, _idle, _waiting, irq, softirq, steal = (
        int(field) for field in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def processor() -> str:
    """What this machine calls its processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _cpu_clock(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) builds it
    except OSError:
        return 0.0


def _resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _parent(entry: Path) -> int | None:
    try:
        stat = (entry / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[1])
