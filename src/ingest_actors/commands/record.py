"""`record`: keeps what the exchange sends, until a signal or the duration ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import trio

from ingest_actors.commands.output import program_version, say
from ingest_actors.commands.signals import obey_signals
from ingest_actors.logs import setup_logging
from ingest_actors.recorder import Recorded, RecordOptions, run_recorder
from ingest_actors.settings import Settings


def run_it(settings: Settings, options: RecordOptions, announce: Callable[[dict[str, object]], None]) -> None:
    """See `run_recorder`. Answers with two lines of JSON: the file, once all is subscribed; what is in it, at the end.

    Raises:
        IngestError: what ended it.
    """
    setup_logging(settings.log_level, log_form(settings), instance=settings.instance_name)
    options = replace(options, program=f"ingest-actors {program_version()}")

    async def record() -> Recorded:
        return await run_recorder(
            settings, options, ready=lambda path: announce({"recording": str(path)}), obey_signals=obey_signals
        )

    recorded = trio.run(record)
    say(
        json.dumps(
            {
                "files": [str(path) for path in recorded.files],
                "messages": recorded.messages,
                "answers": recorded.answers,
                "bytes": recorded.size_bytes,
            }
        )
    )


def log_form(settings: Settings) -> Literal["json", "console"]:
    """As the settings say; for people, when they do not and somebody looks."""
    if "log_format" not in settings.model_fields_set and sys.stderr.isatty():
        return "console"
    return settings.log_format
