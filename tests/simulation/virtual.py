"""Virtual time at its quickest, and the same order of tasks each time: for schedules by the thousand.

`trio.testing.MockClock` looks twice at everything before it jumps, as it must where other threads may have something
to say. Here nobody has: whoever works in a thread of their own is made to work in the loop's.
"""

import math
import random
import ssl
from contextlib import contextmanager
from functools import lru_cache
from unittest.mock import patch

import trio

from ingest_actors.spool.disk import Disk

IDLE_MAX = 100
"""Looks in a row at tasks of which none can run and none has a deadline: trio's own may need a few at the end."""


class NothingLeft(BaseException):
    """Every task waits for another one: the program under test hangs for good."""


class JumpingClock(trio.abc.Clock):
    """Stands still while anything can run, and is at the next deadline as soon as nothing can."""

    def __init__(self):
        self.now = 0.0
        self._idle = 0

    def start_clock(self):
        pass

    def current_time(self):
        return self.now

    def deadline_to_sleep_time(self, deadline):
        if deadline == math.inf:
            self._idle += 1
            if self._idle > IDLE_MAX:
                raise NothingLeft
            return 0.0
        self._idle = 0
        self.now = max(self.now, deadline)
        return 0.0


@lru_cache(maxsize=1)
def _certificates():
    return ssl.create_default_context()  # reading them takes 25 ms, and nobody here speaks TLS


async def _in_the_loop(function, *args, **_options):
    """As a thread that is not abandoned: what is begun is finished, and gives its result to who is cancelled, too."""
    await trio.lowlevel.checkpoint()
    result = function(*args)
    await trio.lowlevel.cancel_shielded_checkpoint()
    return result


@contextmanager
def deterministic(seed):
    """The order in which trio runs tasks that could run at the same time depends on the seed alone."""
    context = _certificates()
    with (
        patch("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", new=True),
        patch("trio._core._run._r", random.Random(f"{seed}/tasks")),
        patch("ingest_actors.binance.rest_ways.ssl.create_default_context", lambda: context),
        patch("trio.to_thread.run_sync", _in_the_loop),
        patch("trio._path.run_sync", _in_the_loop),
        patch.object(Disk.__init__, "__defaults__", (_in_the_loop,)),
    ):
        yield


def run(seed, function, *args):
    """Run an async function on virtual time; the same seed gives the same run."""
    with deterministic(seed):
        return trio.run(function, *args, clock=JumpingClock())
