"""The logger: structlog over ``logging.getLogger("ingest_actors")``.

Nothing is configured on import. Embedded, the host's logging decides what becomes of a line: the message of its
`logging.LogRecord` reads ``event key=value ...``, and ``record.fields`` holds the fields. `setup_logging` is for the
command line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import structlog

LOGGER_NAME: Final = "ingest_actors"

_COMMANDS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys instead of showing it. What others have sent stands in log lines, and must not get that far."""

EventDict = MutableMapping[str, Any]


class Message:
    """An event's name and fields; a text only when somebody asks."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: EventDict) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{key}={value}" for key, value in self.fields.items())])


class Formatter(logging.Formatter):
    """One line for each record: JSON for machines, or columns for people.

    Args:
        form: ``json`` or ``console``.
        colours: whether ``console`` may use them.
        instance: the `INSTANCE_NAME` that lines carry which do not say their own.
    """

    def __init__(self, form: Literal["json", "console"], *, colours: bool, instance: str) -> None:
        super().__init__()
        self._instance = instance
        self._json = form == "json"
        self._render: Any
        if form == "json":
            self._render = structlog.processors.JSONRenderer(serializer=json.dumps, ensure_ascii=False, default=str)
        else:
            self._render = structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0)

    def format(self, record: logging.LogRecord) -> str:
        """Lines of other libraries get the same keys, and `logger`, their logger's name."""
        message: Any = record.msg
        is_ours = type(message) is Message
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": message.event if is_ours else record.getMessage(),
        }
        line["timestamp"] = line["timestamp"].replace("+00:00", "Z")
        fields = dict(message.fields) if is_ours else {"logger": record.name}
        if self._instance:
            line["instance"] = fields.pop("instance", self._instance)
        line |= {key if key not in line else f"{key}_": value for key, value in fields.items()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if self._json:
            return shown(str(self._render(None, record.levelname.lower(), line)))
        texts = {key: shown(value) for key, value in line.items() if isinstance(value, str)}
        texts |= {key: text.replace("\n", "\\n") for key, text in texts.items() if key != "exception"}
        return str(self._render(None, record.levelname.lower(), line | texts))


def shown(text: str) -> str:
    """A text that says all that it did, and commands no terminal; in JSON it stays the same text."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def get_logger(**context: Any) -> structlog.stdlib.BoundLogger:
    """A logger whose every line carries `context`: ``logger.info("connection_opened", url=url)``."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(LOGGER_NAME),
        processors=[structlog.stdlib.filter_by_level, _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
        **context,
    )
    return logger


def setup_logging(
    level: str = "INFO",
    form: Literal["json", "console"] = "json",
    *,
    instance: str = "",
    stream: TextIO | None = None,
) -> None:
    """Write all logging of this process to stderr; for programs, never called when embedded. Replaces what was set up.

    Args:
        level: the least severe of our own lines; other libraries speak from ``WARNING`` on.
        form: ``json``, one object a line, or ``console``; colours on a terminal only.
        instance: goes into every line.
        stream: instead of stderr.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(form, colours=stream.isatty(), instance=instance))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(LOGGER_NAME).setLevel(level)


def _to_record(_logger: object, _method: str, event: EventDict) -> EventDict:
    """What `logging.Logger` methods take; the fields stay in one place, for names such as `name` would collide."""
    exc_info = event.pop("exc_info", None)
    fields = event.copy()  # type: ignore[attr-defined]
    return {"msg": Message(str(fields.pop("event", "")), fields), "exc_info": exc_info, "extra": {"fields": fields}}
