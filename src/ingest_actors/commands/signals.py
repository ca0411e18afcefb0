"""Signals. SIGINT, SIGTERM: the first drains and stops, the second stops at once, a third finds Python's own handlers.

SIGHUP reads the settings again, where somebody can; a command that has none to read ends, as its terminal has.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ingest_actors.logs import get_logger

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def obey_signals(
    *,
    stop: Callable[[], None],
    cancel: Callable[[], None],
    told: Callable[[signal.Signals], None] = lambda _: None,
    reload: Callable[[], None] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Turn signals into calls; returns after the second that stops. Needs the main thread.

    Args:
        stop: begins the drain.
        cancel: ends everything at once.
        told: called with each signal that stops, first of all.
        reload: has the settings read again; None = that needs a restart.
        task_status: started once signals are received.
    """
    log = get_logger()
    with trio.open_signal_receiver(*STOP_SIGNALS, signal.SIGHUP) as received:
        task_status.started()
        act = iter((stop, cancel))
        async for received_number in received:
            number = signal.Signals(received_number)
            if number == signal.SIGHUP:
                if reload is None:
                    log.warning("reload_refused", signal="SIGHUP", hint="a change of settings needs a restart")
                else:
                    reload()
                continue
            told(number)
            action = next(act)
            action()
            if action is cancel:
                return


async def run_until_stopped(work: Callable[[], Awaitable[None]]) -> None:
    """Run something that ends by cancellation, until it ends or a signal says so.

    Raises:
        BaseExceptionGroup: what `work` raised.
    """
    async with trio.open_nursery() as nursery:
        cancel = nursery.cancel_scope.cancel
        await nursery.start(partial(obey_signals, stop=cancel, cancel=lambda: None, reload=cancel))
        await work()
        cancel()
