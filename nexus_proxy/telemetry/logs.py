"""Where log records go: a ring for the UI, and standard error when no screen is on it.

Every record passes the redactor, which knows the values of all key variables and the usual shapes
of keys. A handler on standard error would paint over the terminal UI, so the UI runs without one.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TextIO

import msgspec

from nexus_proxy.config.model import LogFormat, LoggingConfig, LogLevel
from nexus_proxy.state import LogLine

KEPT_LINES = 1000
LEVELS = tuple(level.value for level in LogLevel)
PIPE_TAKES = 4096
"""Bytes that one write to a pipe puts there without a break, on Linux; POSIX asks for 512."""
MASK = "[key]"
_KEY_SHAPES = re.compile(
    r"(?:(?:sk|nxs)-[A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{20,}|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{4,})"
)
_KEY_SIGNS = ("sk-", "nxs-", "AIza", "earer ")
"""Without one of these nothing has the shape of a key."""
_QUIET = (
    *("hypercorn.access", "hypercorn.error", "asyncio"),
    *("httpx", "httpcore", "zeroconf", "urllib3"),
)
ROOTS = ("nexus_proxy", "nexus_tui")


class Redactor:
    """Takes keys out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these too from now on."""
        known = {*self._secrets, *(s.strip() for s in secrets if len(s.strip()) >= 4)}
        self._secrets = sorted(known, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` with every known key, and all that looks like one, masked."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        # A tenth of the time that the search takes, and most lines hold none.
        if any(sign in text for sign in _KEY_SIGNS):
            return _KEY_SHAPES.sub(MASK, text)
        return text


class RingHandler(logging.Handler):
    """Keeps the last lines for the UI."""

    def __init__(self, redact: Redactor, *, kept: int = KEPT_LINES) -> None:
        super().__init__()
        self.redact = redact
        self.lines: deque[LogLine] = deque(maxlen=kept)

    def emit(self, record: logging.LogRecord) -> None:
        """logging: one record."""
        self.lines.append(
            LogLine(
                at=record.created,
                level=record.levelname.lower(),
                component=_component(record.name),
                message=self.redact(_text(record)),
            )
        )


class StreamFormatter(logging.Formatter):
    """`pretty` for people, `json` for aggregators. One record, one line (tracebacks excepted).

    `worker` is the number that is written beside each line, where several processes write.
    """

    def __init__(self, redact: Redactor, style: LogFormat, worker: int | None = None) -> None:
        super().__init__()
        self._redact = redact
        self._json = style is LogFormat.JSON
        self.tag = "" if worker is None else f"w{worker} "
        self._more = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """logging: one record as text."""
        line = LogLine(
            at=record.created,
            level=record.levelname.lower(),
            component=_component(record.name),
            message=_text(record),
        )
        return self.line(line, {})

    def line(self, line: LogLine, fields: Mapping[str, object]) -> str:
        """One line as text, redacted. `fields` go into the JSON form only."""
        if self._json:
            entry = {
                "ts": round(line.at, 3),
                "level": line.level,
                "component": line.component,
                "message": line.message,
                **self._more,
                **fields,
            }
            return self._redact(json.dumps(entry, ensure_ascii=False, default=str))
        return self._redact(pretty(line, self.tag))


@lru_cache(maxsize=8)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def pretty(line: LogLine, tag: str = "") -> str:
    """A line as people read it. `tag` tells the process, where several write."""
    return f"{_clock(int(line.at))} {tag}{line.level:<7} {line.component:<10} {line.message}"


class Logs:
    """The handlers of one run. Use `install` before anything logs and `remove` at the end."""

    def __init__(
        self,
        config: LoggingConfig,
        *,
        secrets: Iterable[str],
        to_stderr: bool,
        worker: int | None = None,
    ) -> None:
        self._redact = Redactor(secrets)
        self._worker = worker
        self._format = config.format
        self.ring = RingHandler(self._redact)
        self._handlers: list[logging.Handler] = [self.ring]
        self._before: list[logging.Handler] = []
        self._own_levels: set[str] = set()
        self._stream: logging.StreamHandler[TextIO] | None = None
        if to_stderr:
            self.to_stderr()
        self.apply(config)

    def install(self) -> None:
        """Put the handlers on the root logger, in place of what was there."""
        root = logging.getLogger()
        self._before = list(root.handlers)
        root.handlers[:] = self._handlers
        logging.captureWarnings(True)

    def to_stderr(self) -> None:
        """Write to standard error from now on; only while no screen is on it."""
        stream = self._stream = logging.StreamHandler(sys.stderr)
        stream.setFormatter(StreamFormatter(self._redact, self._format, self._worker))
        self._handlers.append(stream)
        root = logging.getLogger()
        if self.ring in root.handlers:
            root.addHandler(stream)

    @property
    def wants_fields(self) -> bool:
        """Whether `write` has a use for fields."""
        return self._stream is not None and self._format is LogFormat.JSON

    def write(self, lines: Sequence[tuple[LogLine, Mapping[str, object]]]) -> None:
        """Many lines at once, past the `logging` module: to the ring, and to standard error if
        it is written to."""
        told = [(self._redacted(line), fields) for line, fields in lines]
        self.ring.lines.extend(line for line, _ in told)
        if self._stream is not None and told:
            formatter = self._stream.formatter
            assert isinstance(formatter, StreamFormatter)
            if self.wants_fields:
                texts = [formatter.line(line, fields) for line, fields in told]
            else:
                texts = [pretty(line, formatter.tag) for line, _ in told]
            text = "\n".join((*texts, ""))
            for piece in (text,) if self._worker is None else _atomic(text):
                self._stream.stream.write(piece)
                self._stream.flush()

    def _redacted(self, line: LogLine) -> LogLine:
        message = self._redact(line.message)
        if message is line.message:
            return line
        return msgspec.structs.replace(line, message=message)

    def apply(self, config: LoggingConfig) -> None:
        """Set levels: the root's, each component's, and quiet for chatty libraries."""
        level = config.level.value.upper()
        logging.getLogger().setLevel(level)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        for name in self._own_levels:
            logging.getLogger(name).setLevel(logging.NOTSET)
        self._own_levels.clear()
        for component, component_level in config.component_levels.items():
            for name in (f"{root}.{component}" for root in ROOTS):
                logging.getLogger(name).setLevel(component_level.value.upper())
                self._own_levels.add(name)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these too from now on."""
        self._redact.learn(secrets)

    def remove(self) -> None:
        """Put back what was there."""
        logging.getLogger().handlers[:] = self._before
        for name in self._own_levels:
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.captureWarnings(False)


def _atomic(text: str) -> Iterator[str]:
    """Whole lines in pieces that a pipe takes in one, so that those of other processes do not come
    between."""
    piece, size = "", 0
    for line in text.splitlines(keepends=True):
        length = len(line.encode())
        if piece and size + length > PIPE_TAKES:
            yield piece
            piece, size = "", 0
        piece, size = piece + line, size + length
    yield piece


def _component(name: str) -> str:
    root, _, rest = name.partition(".")
    return rest.partition(".")[0] if root in ROOTS and rest else root


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text
