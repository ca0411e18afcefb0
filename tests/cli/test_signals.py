"""The first signal drains, the second stops at once, SIGHUP asks for a restart."""

from __future__ import annotations

import signal
from functools import partial

import pytest
import trio

from ingest_actors.commands.signals import obey_signals, run_until_stopped
from ingest_actors.errors import DevBrokerFailed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_drains_and_the_second_stops_at_once(number):
    calls = []
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                obey_signals,
                stop=lambda: calls.append("stop"),
                cancel=lambda: calls.append("cancel"),
                told=lambda received: calls.append(received.name),
            )
        )
        signal.raise_signal(number)
        await trio.testing.wait_all_tasks_blocked()
        assert calls == [number.name, "stop"]
        signal.raise_signal(signal.SIGTERM)
    assert calls == [number.name, "stop", "SIGTERM", "cancel"]


async def test_after_the_second_signal_the_handlers_are_the_former_ones():
    former = signal.getsignal(signal.SIGTERM)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(obey_signals, stop=lambda: None, cancel=lambda: None))
        assert signal.getsignal(signal.SIGTERM) is not former
        signal.raise_signal(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is former


async def test_a_hangup_is_answered_with_what_to_do_and_changes_nothing(caplog):
    calls = []
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(obey_signals, stop=lambda: calls.append("stop"), cancel=lambda: calls.append("cancel"))
        )
        signal.raise_signal(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert calls == []
    (record,) = caplog.records
    assert record.getMessage().startswith("reload_refused")
    assert "needs a restart" in record.fields["hint"]


async def test_a_hangup_has_the_settings_read_again_where_somebody_can():
    calls = []
    note = calls.append
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(obey_signals, stop=note, cancel=note, reload=lambda: note("reload")))
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert calls == ["reload", "reload"]


async def test_a_tool_runs_until_a_signal_says_so():
    ended = []

    async def work():
        try:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        finally:
            ended.append("cleaned up")

    await run_until_stopped(work)
    assert ended == ["cleaned up"]


async def test_a_tool_may_end_by_itself():
    await run_until_stopped(trio.lowlevel.checkpoint)


async def test_what_a_tool_raises_comes_out():
    async def work():
        raise DevBrokerFailed("start node 1", "no room")

    with pytest.raises(ExceptionGroup) as caught:
        await run_until_stopped(work)
    assert isinstance(caught.value.exceptions[0], DevBrokerFailed)


async def test_a_hangup_ends_a_command_that_has_no_settings_to_read_again(caplog):
    """Whoever closes the terminal of a simulated exchange does not find its port taken afterwards."""
    ended = []

    async def work():
        try:
            signal.raise_signal(signal.SIGHUP)
            await trio.sleep_forever()
        finally:
            ended.append("work")

    with trio.fail_after(10):
        await run_until_stopped(work)
    assert ended == ["work"]
    assert caplog.records == []
