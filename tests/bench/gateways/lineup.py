"""The gateways that are compared: how each is started, and what it says its version is."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nexus_proxy import __version__
from tests.bench.gateways import payloads
from tests.bench.gateways.processes import ROOT, free_port, running

START_SECONDS = 90.0
DIRECT = "direct"
NEXUS = "nexus"
NEXUS_UI = "nexus, UI on"
NEXUS_WORKERS = "nexus, 2 workers"


@dataclass(frozen=True)
class Place:
    """Where a gateway shall run: its port, the mock's, and a folder for its files."""

    port: int
    upstream: int
    folder: Path

    def write(self, name: str, text: str) -> str:
        """A file for the gateway. Returns its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Kind:
    """A gateway that can be run.

    Attributes:
        exact: whether answers come through byte by byte; otherwise only their text is looked for.
        all_cores: it needs more than one core, and is not kept on that of the gateways.
    """

    name: str
    version: str
    command: Callable[[Place], Sequence[str]]
    terminal: bool = False
    exact: bool = True
    all_cores: bool = False


@dataclass(frozen=True)
class Missing:
    """A gateway that is not here, and what would bring it."""

    name: str
    why: str


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs. `start_seconds` is from its start to its first answer."""

    name: str
    port: int
    pid: int
    exact: bool = True
    start_seconds: float = 0.0


def lineup(tools: Sequence[Path], *, ui: bool, workers: bool = False) -> list[Kind | Missing]:
    """All gateways there are, and those there could be. Programs are looked for in `tools`, then
    on `PATH`."""
    path = os.pathsep.join([*map(str, tools), os.environ.get("PATH", os.defpath)])
    return [
        _nginx(path),
        Kind(NEXUS, _nexus_version(), _nexus),
        *([Kind(NEXUS_UI, _nexus_version(), _nexus_ui, terminal=True)] if ui else []),
        *([_two_workers()] if workers else []),
        _python_tool("vllm-router", "vllm-router", path, _vllm_router),
        _python_tool("sglang-router", "sglang-router", path, _sglang_router),
        _python_tool("litellm", "litellm", path, _litellm, exact=False),
    ]


@contextmanager
def started(kind: Kind, upstream: int, core: int | None, folder: Path) -> Iterator[Gateway]:
    """Run a gateway before the mock on port `upstream`. Raises `RuntimeError` if it never
    answers."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(free_port(), upstream, folder)
    command = kind.command(place)
    began = time.monotonic()
    core = None if kind.all_cores else core
    with running(command, core=core, folder=folder, terminal=kind.terminal) as process:
        while not _answers(place.port):
            if process.poll() is not None or time.monotonic() > began + START_SECONDS:
                raise RuntimeError(f"{kind.name} does not answer: {_last_words(folder)}")
            time.sleep(0.005)
        seconds = time.monotonic() - began
        yield Gateway(kind.name, place.port, process.pid, kind.exact, seconds)


def _answers(port: int) -> bool:
    head, _, body = payloads.request(port, payloads.SMALL).partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", payloads.PATH, body, headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_words(folder: Path) -> str:
    output = (folder / "output").read_text(errors="replace").strip()
    return output[-600:] or "it said nothing"


def _nginx(path: str) -> Kind | Missing:
    program = shutil.which("nginx", path=path + os.pathsep + "/usr/sbin")
    if program is None:
        return Missing("nginx", "no nginx on PATH (apt-get install nginx-light)")

    def command(place: Place) -> Sequence[str]:
        config = place.write("nginx.conf", NGINX.format(port=place.port, upstream=place.upstream))
        return [program, "-p", str(place.folder), "-c", config, "-e", str(place.folder / "errors")]

    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)
    return Kind("nginx", (said.stderr + said.stdout).strip().rpartition("/")[2], command)


NGINX = """\
daemon off;
worker_processes 1;
pid nginx.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 10000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 64m;
    client_body_buffer_size 4m;  # a long prompt does not go by the disk
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 10000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


def _nexus(place: Place) -> Sequence[str]:
    return [*_nexus_ui(place), "--no-ui"]


def _two_workers() -> Kind:
    def command(place: Place) -> Sequence[str]:
        return [*_nexus(place), "--workers", "2"]

    return Kind(NEXUS_WORKERS, _nexus_version(), command, all_cores=True)


def _nexus_ui(place: Place) -> Sequence[str]:
    url = f"http://127.0.0.1:{place.upstream}"
    state = f'[state]\npath = "{place.folder / "nexus.db"}"\n'
    config = place.write(
        "nexus.toml", f'{state}[[backends]]\nname = "mock"\nurl = "{url}"\ntype = "generic"\n'
    )
    # No line for each request, as with the others: nginx has no access log, the routers warn only.
    options = ["--no-discovery", "--log-level", "warning", "-c", config, "--port", str(place.port)]
    return [sys.executable, "-m", "nexus_tui.main", *options]


def _nexus_version() -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return f"{__version__} {commit}".strip()


def _python_tool(
    name: str,
    package: str,
    path: str,
    command: Callable[[str, Place], Sequence[str]],
    *,
    exact: bool = True,
) -> Kind | Missing:
    """A program of a Python package, in an environment of its own."""
    program = shutil.which(name, path=path)
    if program is None:
        return Missing(
            name, f"no `{name}` on PATH; --tools FOLDER/bin names an environment that has it"
        )
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    python = Path(program).with_name("python")
    said = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return Kind(
        name,
        said.stdout.strip() or "unknown",
        lambda place: command(program, place),
        exact=exact,
    )


def _vllm_router(program: str, place: Place) -> Sequence[str]:
    return [program, *_router_options(place), "--log-level", "warning"]


def _sglang_router(program: str, place: Place) -> Sequence[str]:
    return [program, "launch", *_router_options(place), "--log-level", "warn"]


def _router_options(place: Place) -> Sequence[str]:
    """As cheap as they can be: the simplest policy, little to log."""
    return [
        *("--host", "127.0.0.1", "--port", str(place.port)),
        *("--worker-urls", f"http://127.0.0.1:{place.upstream}"),
        *("--policy", "round_robin", "--prometheus-port", str(free_port())),
        *("--worker-startup-check-interval", "1"),
    ]


def _litellm(program: str, place: Place) -> Sequence[str]:
    url = f"http://127.0.0.1:{place.upstream}/v1"
    config = place.write(
        "litellm.yaml",
        f"model_list:\n  - model_name: {payloads.MODEL}\n    litellm_params:\n"
        f"      model: openai/{payloads.MODEL}\n      api_base: {url}\n      api_key: none\n"
        "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n",
    )
    return [program, "--config", config, "--host", "127.0.0.1", "--port", str(place.port)]
