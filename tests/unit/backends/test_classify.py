"""Whose fault an error answer is, by what servers really said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import Fault
from nexus_proxy.config.model import BackendType


def openai_shape(message: str, type: str = "invalid_request_error", **fields: Any) -> str:
    return json.dumps({"error": {"message": message, "type": type, **fields}})


def anthropic_shape(message: str, type: str = "invalid_request_error") -> str:
    return json.dumps({"type": "error", "error": {"type": type, "message": message}})


def google_shape(message: str, status: str = "INVALID_ARGUMENT") -> str:
    return json.dumps({"error": {"code": 400, "message": message, "status": status}})


LLAMACPP = [
    (
        400,
        openai_shape(
            "request (6031 tokens) exceeds the available context size (2048 tokens), "
            "try increasing it",
            "exceed_context_size_error",
            n_prompt_tokens=6031,
            n_ctx=2048,
        ),
        Fault.CONTEXT_OVERFLOW,
    ),
    (
        500,
        openai_shape(
            "input (3001 tokens) is too large to process. increase the physical batch size "
            "(current batch size: 512)",
            "server_error",
        ),
        Fault.CONTEXT_OVERFLOW,
    ),
    (
        500,
        openai_shape(
            "image input is not supported - hint: if this is unexpected, you may need to "
            "provide the mmproj",
            "server_error",
        ),
        Fault.UNSUPPORTED,
    ),
    (
        501,
        openai_shape(
            "This server does not support embeddings. Start it with `--embeddings`",
            "not_supported_error",
        ),
        Fault.UNSUPPORTED,
    ),
    (403, openai_shape("switched off", "feature_disabled_error"), Fault.UNSUPPORTED),
    (
        500,
        openai_shape(
            "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error",
            "server_error",
        ),
        Fault.CALLER,
    ),
    (400, openai_shape("'messages' is required"), Fault.CALLER),
    (
        500,
        openai_shape(
            "The model produced output that does not match the expected peg-native format",
            "server_error",
        ),
        Fault.BACKEND,
    ),
    (400, openai_shape("model 'nope' not found"), Fault.MODEL_MISSING),
    (400, openai_shape("model is not loaded"), Fault.MODEL_MISSING),
    (400, openai_shape("model name is missing from the request"), Fault.CALLER),
    (500, "proxy error: Failed to read connection", Fault.BACKEND),
    (503, openai_shape("Loading model", "unavailable_error", code=503), Fault.LOADING),
    (503, openai_shape("no slot available", "unavailable_error"), Fault.BUSY),
    (401, openai_shape("Invalid API Key", "authentication_error", code=401), Fault.CREDENTIALS),
    (404, openai_shape("File Not Found", "not_found_error", code=404), Fault.UNSUPPORTED),
]

OLLAMA = [
    (
        404,
        openai_shape('model "llama3" not found, try pulling it first', "not_found_error"),
        Fault.MODEL_MISSING,
    ),
    (404, '{"error":"model \\"llama3\\" not found, try pulling it first"}', Fault.MODEL_MISSING),
    (404, "404 page not found", Fault.UNSUPPORTED),
    (
        503,
        openai_shape("server busy, please try again.  maximum pending requests exceeded"),
        Fault.BUSY,
    ),
    (
        400,
        openai_shape("registry.ollama.ai/library/gemma:2b does not support tools"),
        Fault.UNSUPPORTED,
    ),
    (
        400,
        openai_shape("the input length exceeds the context length"),
        Fault.CONTEXT_OVERFLOW,
    ),
    (
        400,
        openai_shape(
            "the prompt is longer than the context length currently available to the model"
        ),
        Fault.CONTEXT_OVERFLOW,
    ),
    (
        500,
        openai_shape("model requires more system memory (9 GiB) than is available", "api_error"),
        Fault.BACKEND,
    ),
    (401, '{"error":"unauthorized"}', Fault.CREDENTIALS),
]

LMSTUDIO = [
    (
        404,
        openai_shape("No models loaded. Please load a model in the developer page", param="model"),
        Fault.MODEL_MISSING,
    ),
    (400, openai_shape("No models loaded.", param="model"), Fault.MODEL_MISSING),
    (400, openai_shape('Invalid model identifier "x". Please specify'), Fault.MODEL_MISSING),
    (
        200,
        '{"error":"Unexpected endpoint or method. (POST /v1/rerank)"}',
        Fault.UNSUPPORTED,
    ),
    (200, '{"error":"something else"}', Fault.CALLER),
    (
        400,
        json.dumps(
            {
                "error": "Trying to keep the first 9000 tokens when context the overflows. However,"
                " the model is loaded with context length of only 4096 tokens"
            }
        ),
        Fault.CONTEXT_OVERFLOW,
    ),
    (400, '{"error":"Context size has been exceeded."}', Fault.CONTEXT_OVERFLOW),
    (200, '{"error":"Context size has been exceeded."}', Fault.CONTEXT_OVERFLOW),
    (
        400,
        '{"error":"The model has crashed without additional information. (Exit code: 6)"}',
        Fault.BACKEND,
    ),
    (400, openai_shape("'messages' field is required"), Fault.CALLER),
]

VLLM = [
    (
        404,
        openai_shape("The model `nope` does not exist.", "NotFoundError", code=404),
        Fault.MODEL_MISSING,
    ),
    (404, '{"detail":"Not Found"}', Fault.UNSUPPORTED),
    (
        400,
        openai_shape(
            "This model's maximum context length is 2048 tokens. However, your prompt contains "
            "at least 2049 input tokens",
            "BadRequestError",
            param="input_tokens",
            code=400,
        ),
        Fault.CONTEXT_OVERFLOW,
    ),
    (
        400,
        openai_shape("smollm2 is not a multimodal model", "BadRequestError", code=400),
        Fault.UNSUPPORTED,
    ),
    (
        400,
        openai_shape('"auto" tool choice requires --enable-auto-tool-choice', "BadRequestError"),
        Fault.UNSUPPORTED,
    ),
    (400, openai_shape("top_p must be in (0, 1], got 7", "BadRequestError"), Fault.CALLER),
    (503, openai_shape("The server is overloaded", "ServiceUnavailable"), Fault.BUSY),
    (500, openai_shape("EngineCore encountered an issue", "InternalServerError"), Fault.BACKEND),
    (401, '{"error":"Unauthorized"}', Fault.CREDENTIALS),
]

EXO = [
    (
        404,
        '{"error":{"message":"No instance found for model x","type":"Not Found","code":404}}',
        Fault.MODEL_MISSING,
    ),
    (404, '{"detail":"Not Found"}', Fault.UNSUPPORTED),
]

OPENAI = [
    (429, openai_shape("Rate limit reached", "requests", code="rate_limit_exceeded"), Fault.BUSY),
    (
        429,
        openai_shape(
            "You exceeded your current quota", "insufficient_quota", code="insufficient_quota"
        ),
        Fault.CREDENTIALS,
    ),
    (401, openai_shape("Incorrect API key", code="invalid_api_key"), Fault.CREDENTIALS),
    (
        404,
        openai_shape("The model `gpt-x` does not exist", code="model_not_found"),
        Fault.MODEL_MISSING,
    ),
    (
        404,
        openai_shape(
            "This is a chat model and not supported in the v1/completions endpoint.", param="model"
        ),
        Fault.UNSUPPORTED,
    ),
    (
        400,
        openai_shape(
            "This model's maximum context length is 128000 tokens.", code="context_length_exceeded"
        ),
        Fault.CONTEXT_OVERFLOW,
    ),
    (503, openai_shape("Slow down", "server_error"), Fault.BUSY),
    (500, openai_shape("The server had an error", "server_error"), Fault.BACKEND),
]

ANTHROPIC = [
    (400, anthropic_shape("prompt is too long: 9 tokens > 5 maximum"), Fault.CONTEXT_OVERFLOW),
    (400, anthropic_shape("Your credit balance is too low to access"), Fault.CREDENTIALS),
    (400, anthropic_shape("messages: at least one message is required"), Fault.CALLER),
    (401, anthropic_shape("invalid x-api-key", "authentication_error"), Fault.CREDENTIALS),
    (402, anthropic_shape("unpaid", "billing_error"), Fault.CREDENTIALS),
    (404, anthropic_shape("model: claude-9", "not_found_error"), Fault.MODEL_MISSING),
    (413, anthropic_shape("Request exceeds the maximum size", "request_too_large"), Fault.CALLER),
    (429, anthropic_shape("slow down", "rate_limit_error"), Fault.BUSY),
    (500, anthropic_shape("Internal server error", "api_error"), Fault.BACKEND),
    (529, anthropic_shape("Overloaded", "overloaded_error"), Fault.BUSY),
]

GOOGLE = [
    (
        400,
        google_shape("The input token count (9) exceeds the maximum number of tokens allowed (5)."),
        Fault.CONTEXT_OVERFLOW,
    ),
    (400, google_shape("API key not valid. Please pass a valid API key."), Fault.CREDENTIALS),
    (
        400,
        google_shape("User location is not supported", "FAILED_PRECONDITION"),
        Fault.CREDENTIALS,
    ),
    (400, google_shape("Invalid JSON payload received."), Fault.CALLER),
    (404, google_shape("models/x is not found for API version v1beta"), Fault.MODEL_MISSING),
    (429, google_shape("You exceeded your current quota", "RESOURCE_EXHAUSTED"), Fault.BUSY),
    (503, google_shape("The model is overloaded.", "UNAVAILABLE"), Fault.BUSY),
]

GENERIC = [
    (404, "<html>Not Found</html>", Fault.UNSUPPORTED),
    (405, "", Fault.UNSUPPORTED),
    (422, '{"detail":[]}', Fault.CALLER),
    (502, "<html>bad gateway</html>", Fault.BACKEND),
]

TABLES = {
    BackendType.LLAMACPP: LLAMACPP,
    BackendType.OLLAMA: OLLAMA,
    BackendType.LMSTUDIO: LMSTUDIO,
    BackendType.VLLM: VLLM,
    BackendType.EXO: EXO,
    BackendType.OPENAI: OPENAI,
    BackendType.ANTHROPIC: ANTHROPIC,
    BackendType.GOOGLE: GOOGLE,
    BackendType.GENERIC: GENERIC,
}
CASES = [(type_, *row) for type_, rows in TABLES.items() for row in rows]


@pytest.mark.parametrize(("type_", "status", "text", "fault"), CASES)
def test_fault_of_what_was_said(type_: BackendType, status: int, text: str, fault: Fault) -> None:
    body = json.loads(text) if text.startswith("{") else None
    assert adapter_for(type_).classify(status, body, text) is fault


@pytest.mark.parametrize("type_", BackendType)
def test_no_kind_blames_the_caller_for_an_unexplained_500(type_: BackendType) -> None:
    assert adapter_for(type_).classify(500, None, "") is Fault.BACKEND
