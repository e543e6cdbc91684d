"""What the server logs: one line each, as JSON or text, on stderr; nothing from outside unescaped, and never a key."""

from __future__ import annotations

import contextvars
import logging
import sys
import time
import traceback
from typing import Any, TextIO

import orjson

from quickserveml_tui.core.key_text import redact
from quickserveml_tui.core.text import safe_text

REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
"""Id of the request under way, where one is."""
LOGGERS = ("quickserveml_tui", "uvicorn")
MAX_MESSAGE = 4096
_MAX_TRACE = 16_384


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and where known `worker`, `request_id`, `error`
    (type of an exception), `detail` (its words) and `traceback`.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return orjson.dumps(_fields(record, self._worker)).decode()


class TextFormatter(logging.Formatter):
    """The same for people: time, level, logger, message, then the other fields as `name=value`."""

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = _fields(record, self._worker)
        level = f"{fields.pop('level'):7}"
        head = " ".join((fields.pop("time"), level, fields.pop("logger").rpartition(".")[2], fields.pop("message")))
        trace = fields.pop("traceback", "").replace("\n", " | ")
        return " ".join([head, *(f"{name}={value}" for name, value in fields.items()), *filter(None, [trace])])


def _fields(record: logging.LogRecord, worker: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": written(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _clean(_message(record), MAX_MESSAGE),
    }
    if worker is not None:
        fields["worker"] = worker
    request_id = getattr(record, "request_id", "") or REQUEST_ID.get()
    if request_id:
        fields["request_id"] = _clean(str(request_id), 128)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        fields["error"] = type(error).__name__
        fields["detail"] = _clean(str(error), 1000)
        lines = "".join(traceback.format_exception(error)).splitlines()
        fields["traceback"] = redact("\n".join(safe_text(line, 400) for line in lines))[-_MAX_TRACE:]
    return fields


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not fit: say what can be said
        return str(record.msg)


def _clean(text: str, limit: int) -> str:
    return safe_text(redact(text[: limit * 2]), limit)


def written(moment: float) -> str:
    """Unix time as logs write it: UTC, ISO 8601 with milliseconds."""
    whole = int(moment)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((moment - whole) * 1000):03d}Z"


class _Stream(logging.StreamHandler[TextIO]):
    """Writes to stderr as it is now; a reader that went away is no error of the server."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def outside_level(level: str) -> str:
    """Level of libraries: what they tell at `info` of their own steps says nothing that the server does not say."""
    return "warning" if level == "info" else level


def set_up_logging(level: str, form: str = "auto", *, worker: int | None = None, stream: TextIO | None = None) -> None:
    """Let the server's and uvicorn's loggers write lines of a form from a level on, to stderr.

    The form is `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.

    uvicorn's own words are told from warnings on, unless the level is `debug`. Calling it again replaces what an
    earlier call set up.
    """
    target = stream or sys.stderr
    as_text = form == "text" or (form == "auto" and target.isatty())
    handler = _Stream(target)
    handler.setFormatter(TextFormatter(worker) if as_text else JsonFormatter(worker))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [item for item in logger.handlers if not isinstance(item, _Stream)]
        logger.addHandler(handler)
        logger.setLevel((level if name == LOGGERS[0] else outside_level(level)).upper())
        logger.propagate = False
