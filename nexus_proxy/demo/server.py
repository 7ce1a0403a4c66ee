"""The process behind the demo: `python server.py MODEL THREADS`.

Writes its base URL to stdout once it answers, and serves until its stdin ends, which happens when
the gateway that started it stops or dies. It imports nothing of Nexus, so that it starts wherever
the file lies.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

STDIN, STDOUT, STDERR = 0, 1, 2
HIGHEST_INHERITED = 4096
ALIAS = "smollm2"
SLOTS = 2
SLOT_TOKENS = 4096
TEMPERATURE = 0.0  # at llama.cpp's 0.8 a model this small talks nonsense
PROMPT_CACHE_MIB = 128  # llama.cpp would take up to 8 GiB
WARNINGS = 2  # from 3 on llama.cpp logs every request, for as long as it runs


def parameters(llama: ModuleType, model: str, threads: int) -> Any:
    """What a `llama-server` command line would say. Chat and embeddings share one process."""
    params = llama.CommonParams()
    params.model.path, params.model_alias = model, {ALIAS}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * SLOT_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.use_jinja, params.chat_template = True, _chat_template()
    params.sampling.temp = TEMPERATURE
    params.embedding = True
    params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.endpoint_metrics = params.endpoint_slots = True
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.warmup = params.ui = False
    params.cors_origins = "http://127.0.0.1"  # the default lets any web page read answers
    params.verbosity = WARNINGS
    return params


def main(model: str, threads: int) -> None:
    """Serve until stdin ends. Exits with the reason on stderr when llama.cpp cannot start."""
    os.closerange(STDERR + 1, HIGHEST_INHERITED)  # uvloop closes nothing when it starts a process
    parent = threading.Thread(target=_exit_at_end_of_stdin, daemon=True)
    parent.start()
    announce = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # whatever the C++ side may say belongs to the log
    llama = import_module("xllamacpp")  # here only with the demo's packages, and untyped
    try:
        server = llama.Server(parameters(llama, model, threads))
    except RuntimeError as error:
        sys.exit(f"llama.cpp cannot serve {model}: {error}")
    os.write(announce, f"{server.listening_address}\n".encode())
    parent.join()


def _chat_template() -> str:
    return Path(__file__).with_name("chat.jinja").read_text(encoding="utf-8")


def _exit_at_end_of_stdin() -> None:
    while os.read(STDIN, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
