"""The planner's promises: what is wanted is launched once, notices are acted on, and the exchange is asked again."""

from functools import partial
from types import SimpleNamespace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ingest_actors.actors.fleet import Fleet, Wanted
from ingest_actors.actors.planner import planner
from ingest_actors.binance.planning import assign
from ingest_actors.errors import ExchangeUnreachable, SettingsError
from ingest_actors.supervision import Backoff

UNREACHABLE = ExchangeUnreachable("https://rest", "timed out", hint="check DNS")
STREAMS = ("btcusdt@trade", "ethusdt@trade", "bnbusdt@trade")


class Rig:
    """A planner whose question is answered by a script."""

    def __init__(self, *answers, streams_max=2, failures_max=3):
        self.answers = list(answers)
        self.asked_at = []
        self.launched = []
        self.told = []
        self.fleet = Fleet()
        self.notify, notices = trio.open_memory_channel(8)
        self.run = partial(
            planner,
            self.fleet,
            resolve=self.resolve,
            assign=partial(assign, streams_max=streams_max),
            launch=self.launched.append,
            notices=notices,
            backoff=Backoff(5, 300, jitter=0),
            failures_max=failures_max,
            announce=self.announce,
        )

    async def resolve(self):
        self.asked_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def announce(self, name, *, level="info", **fields):
        self.told.append((name, level, fields))

    def carried(self):
        return {connection.name: connection.streams for connection in self.launched}


def notice(kind, connection="ws-1"):
    return SimpleNamespace(kind=kind, connection=connection, detail="{}")


async def test_every_wanted_stream_is_on_one_connection_and_each_is_launched_once(nursery):
    rig = Rig(Wanted(STREAMS))
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    assert rig.carried() == {"ws-1": STREAMS[:2], "ws-2": STREAMS[2:]}
    assert rig.fleet.connections == {connection.name: connection for connection in rig.launched}
    nursery.cancel_scope.cancel()


async def test_a_planner_that_is_run_again_launches_only_what_is_missing_and_asks_no_more():
    rig = Rig(Wanted(STREAMS), streams_max=1)
    for _ in range(2):
        with trio.move_on_after(0.01):
            await rig.run()
    assert [connection.name for connection in rig.launched] == ["ws-1", "ws-2", "ws-3"]
    assert len(rig.asked_at) == 1
    del rig.fleet.connections["ws-1"]
    with trio.move_on_after(0.01):
        await rig.run()
    assert rig.launched[3].streams == STREAMS[:1]


async def test_a_symbol_that_is_not_listed_is_told_with_the_nearest(nursery):
    rig = Rig(Wanted(STREAMS, unlisted={"BTCUSTD": "BTCUSDT"}))
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    assert rig.told == [("symbol_unlisted", "error", {"symbol": "BTCUSTD", "nearest": "BTCUSDT"})]
    nursery.cancel_scope.cancel()


async def test_a_shutdown_notice_makes_the_end_of_its_connection_an_expected_one(nursery):
    rig = Rig(Wanted(STREAMS))
    nursery.start_soon(rig.run)
    await rig.notify.send(notice("server_shutdown", "ws-2"))
    await wait_all_tasks_blocked()
    assert [connection.ending_expected for connection in rig.launched] == [False, True]
    assert rig.told == [("server_shutdown", "info", {"connection": "ws-2", "detail": "{}"})]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("kind", "connection"), [("control_reply", "ws-1"), ("server_shutdown", "gone")])
async def test_other_notices_are_only_told(nursery, kind, connection):
    rig = Rig(Wanted(STREAMS))
    nursery.start_soon(rig.run)
    await rig.notify.send(notice(kind, connection))
    await wait_all_tasks_blocked()
    assert [name for name, _, _ in rig.told] == ["exchange_notice"]
    assert not any(connection.ending_expected for connection in rig.launched)
    nursery.cancel_scope.cancel()


async def test_the_exchange_is_asked_again_until_it_answers(autojump_clock, nursery):
    rig = Rig(UNREACHABLE, UNREACHABLE, Wanted(STREAMS))
    nursery.start_soon(rig.run)
    await trio.sleep(20)
    assert rig.asked_at == [0, 5, 15]
    assert len(rig.launched) == 2
    assert [(name, fields["failures"], fields["retry_in_s"]) for name, _, fields in rig.told] == [
        ("exchange_not_asked", 1, 5),
        ("exchange_not_asked", 2, 10),
    ]
    nursery.cancel_scope.cancel()


async def test_after_so_many_failures_in_a_row_to_ask_it_gives_up(autojump_clock):
    rig = Rig(*[UNREACHABLE] * 9, failures_max=3)
    with pytest.raises(ExchangeUnreachable):
        await rig.run()
    assert rig.asked_at == [0, 5, 15]
    assert rig.told[-1][2]["retry_in_s"] is None


async def test_with_zero_it_never_gives_up_asking(autojump_clock):
    rig = Rig(*[UNREACHABLE] * 200, failures_max=0)
    with trio.move_on_after(190 * 300):
        await rig.run()
    assert len(rig.asked_at) > 190


async def test_it_waits_as_long_as_the_exchange_asks(autojump_clock, nursery):
    banned = ExchangeUnreachable("https://rest", "HTTP 418", status=418, retry_after_s=600.0)
    rig = Rig(banned, Wanted(STREAMS))
    nursery.start_soon(rig.run)
    await trio.sleep(601)
    assert rig.asked_at == [0, 600]
    nursery.cancel_scope.cancel()


async def test_settings_that_mean_nothing_are_not_tried_again():
    with pytest.raises(SettingsError):
        await Rig(SettingsError(["BINANCE_SYMBOLS=X: the exchange lists none of these"])).run()
