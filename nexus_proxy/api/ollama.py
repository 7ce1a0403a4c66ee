"""Ollama's lists, for clients that look for models there: `/api/tags`, `/api/ps`, `/api/show` and
`/api/version`. They show what `/v1/models` shows, under the same names.
"""

from __future__ import annotations

