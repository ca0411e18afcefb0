"""The service, but for one thing: upon SIGUSR1 its parser crashes, as a bug would make it. For `screenshots.py`."""

from __future__ import annotations

import signal
import sys

import trio

from ingest_actors.commands.run import run_service
from ingest_actors.logs import setup_logging
from ingest_actors.service import Service
from ingest_actors.settings import Settings


def made(settings):
    """A service whose parser crashes when it is told to."""
    service = Service(settings)
    parser = service._topology._parser
    parse, crashes = parser.parse, []

    def parse_or_crash(batch):
        if crashes:
            crashes.pop()
            raise RuntimeError("told to crash, for a picture of it")
        return parse(batch)

    parser.parse = parse_or_crash
    signal.signal(signal.SIGUSR1, lambda *_: crashes.append(None))
    return service


if __name__ == "__main__":
    given = Settings.from_env(None)
    setup_logging(level=given.log_level, form=given.log_format)
    sys.exit(trio.run(lambda: run_service(given, make=made)))
