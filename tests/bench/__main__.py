"""Measures the foundation: start, imports, memory, routing.

    python -m tests.bench [--json] [--rounds N]

Times are medians over fresh processes, with the spread, since the machines it runs on are noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.bench.routing_cost import decision_microseconds

IMPORT = (
    "import time; began = time.perf_counter(); import nexus_proxy.runtime; "
    "print(time.perf_counter() - began)"
)
FORBIDDEN = (
    "import sys, nexus_proxy.runtime; "
    "print(sorted({m.split('.')[0] for m in sys.modules} & {'textual', 'rich', 'quart'}))"
)


def main() -> None:
    """Run everything and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    starts = [_start_and_rss() for _ in range(options.rounds)]
    imports = _repeat(options.rounds, lambda: float(_python(IMPORT)))
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "python": platform.python_version(),
        "start_to_healthy_s": _spread([s for s, _ in starts]),
        "import_runtime_s": _spread(imports),
        "imported_by_runtime": _python(FORBIDDEN),
        "rss_idle_mb": _spread([rss for _, rss in starts]),
        "routing_decision_us": {
            str(count): round(decision_microseconds(backends=count, models=50), 1)
            for count in (1, 20, 200)
        },
    }
    if options.json:
        print(json.dumps(figures, indent=2))  # noqa: T201 the point of this program
        return
    for name, value in figures.items():
        print(f"{name:<22} {value}")  # noqa: T201 the point of this program


def _start_and_rss() -> tuple[float, float]:
    """Seconds from starting the process to the first healthy answer, and its RSS in MB then."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "nexus_proxy", "--no-ui", "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_clean_environ()
    )
    try:
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None:
                raise RuntimeError(f"the gateway ended with {process.returncode}")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        time.sleep(3)  # idle: discovery has looked once, imports are done
        return seconds, _rss_mb(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc")


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _clean_environ() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}


def _repeat(rounds: int, measure: Callable[[], float]) -> list[float]:
    return [measure() for _ in range(rounds)]


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
