"""The process of a real llama.cpp server: `python llama_process.py OPTIONS_AS_JSON`.

Writes its base URL to stdout once it listens, and serves until its stdin ends or it is killed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib import import_module
from typing import Any


def main(options: dict[str, Any]) -> None:
    waiting = threading.Thread(target=_until_stdin_ends, daemon=True)
    waiting.start()
    announce = os.dup(1)
    os.dup2(2, 1)  # what the C++ side says belongs to the log
    llama = import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path, params.model_alias = options["model"], {options["alias"]}
    params.hostnames, params.port = ["127.0.0.1"], options["port"]
    params.n_ctx, params.n_parallel = options["context"], options["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_metrics = params.endpoint_slots = params.use_jinja = True
    params.warmup = params.ui = False
    params.cache_ram_mib = 0
    if options["api_keys"]:
        params.api_keys = options["api_keys"]
    if options["chat_template"]:
        params.chat_template = options["chat_template"]
    if options["sleep_idle_seconds"]:
        params.sleep_idle_seconds = options["sleep_idle_seconds"]
    if options["embeddings"]:
        params.embedding = True
        params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    if options["rerank"]:
        params.embedding = True
        params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    server = llama.Server(params)
    os.write(announce, f"{server.listening_address}\n".encode())
    waiting.join()


def _until_stdin_ends() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
