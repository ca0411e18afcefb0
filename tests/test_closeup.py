from __future__ import annotations

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.actors.fleet import Fleet
from ingest_actors.announce import ServiceEvent
from ingest_actors.binance.gaps import Gap, Reason, ResolvedBy, State
from ingest_actors.binance.parser import NEVER
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.binance.stream_watch import StreamWatch
from ingest_actors.closeup import HAPPENINGS_MAX, JOURNAL_MAX, TEXT_MAX, Closeup
from ingest_actors.details import GapSums

NOW_MS = 1_700_000_000_000


class Subscriber:
    def __init__(self, *acknowledged):
        self.acknowledged = frozenset(acknowledged)
        self.missing = frozenset()

    def carry(self, streams):
        pass


class NoSeries:
    """A continuity that knows of gaps alone."""

    def __init__(self):
        self.gaps = {}

    def known(self, stream):
        return None


def closeup_of(fleet, *, heard=lambda _: NEVER, watched=None, continuity=None):
    return Closeup(
        fleet,
        watched=watched or StreamWatch(StreamTable()),
        heard=heard,
        continuity=continuity or NoSeries(),
        clock_ms=lambda: NOW_MS,
        draining=lambda: False,
        buffer_bytes_max=1,
    )


def gap(first=100, last=139, **changes):
    fields = {
        "stream": "btcusdt@trade", "symbol": "BTCUSDT", "event_type": "trade", "hole": Hole(first, last),
        "reason": Reason.DISCONNECTED, "detected_at_ms": NOW_MS,
    }  # fmt: skip
    return Gap(**(fields | changes))


def fleet_of(*connections, lanes=1):
    fleet = Fleet(lanes=lanes)
    fleet.connections.update({connection.name: connection for connection in connections})
    return fleet


def every(closeup):
    return [stream for chunk in closeup.streams(2) for stream in chunk]


async def test_a_stream_is_waiting_until_its_subscription_stands(autojump_clock):
    connection = Connection("ws-1", ("btcusdt@trade", "ethusdt@trade", "bnbusdt@trade"))
    closeup = closeup_of(fleet_of(connection))
    assert [(stream.name, stream.state) for stream in every(closeup)] == [
        ("btcusdt@trade", "waiting"), ("ethusdt@trade", "waiting"), ("bnbusdt@trade", "waiting"),
    ]  # fmt: skip
    connection.subscriber = Subscriber("ethusdt@trade")
    assert [stream.state for stream in every(closeup)] == ["waiting", "quiet", "waiting"]


async def test_a_stream_that_was_moved_stands_where_it_stands(autojump_clock):
    old, new = Connection("ws-1", ("btcusdt@trade",)), Connection("ws-2", ())
    new.subscriber = Subscriber("btcusdt@trade")
    assert every(closeup_of(fleet_of(old, new)))[0].state == "quiet"


async def test_with_two_connections_a_stream_each_is_told_once(autojump_clock):
    fleet = fleet_of(Connection("ws-1", ("btcusdt@trade",)), Connection("ws-1b", ("btcusdt@trade",), lane=1), lanes=2)
    assert [stream.connection for stream in every(closeup_of(fleet))] == ["ws-1"]


async def test_streams_flow_and_age_as_the_watch_has_it(autojump_clock):
    connection = Connection("ws-1", ("btcusdt@trade",))
    connection.subscriber = Subscriber("btcusdt@trade")
    watched = StreamWatch(StreamTable())
    watched._at = trio.current_time()
    watched._added("btcusdt@trade").flowing = True
    heard_at = trio.current_time()
    closeup = closeup_of(fleet_of(connection), watched=watched, heard=lambda _: heard_at)
    await trio.sleep(7)
    stream = every(closeup)[0]
    assert (stream.state, stream.age_s, stream.symbol, stream.event_type) == ("flowing", 6, "BTCUSDT", "trade")
    assert closeup.again([stream]) == [stream]
    watched.get("btcusdt@trade").silent = True
    assert closeup.again([stream])[0].state == "silent"


async def test_gaps_are_counted_by_stream_and_by_event_type(autojump_clock):
    continuity = NoSeries()
    closeup = closeup_of(fleet_of(Connection("ws-1", ("btcusdt@trade",))), continuity=continuity)
    closed = gap(recovered=40, resolved_by=ResolvedBy.REST_BACKFILL)
    closeup.note(closed, State.OPEN)
    closeup.note(closed, State.CLOSED)
    closeup.note(gap(200, 209, lost=7, recovered=3), State.LOST)
    continuity.gaps = {"a": gap(300, 309, recovered=4)}
    stream = every(closeup)[0]
    assert (stream.gaps_open, stream.gaps_closed, stream.gaps_lost, stream.ids_lost) == (1, 1, 1, 7)
    assert closeup.gap_sums() == {"trade": GapSums(1, 1, 43, 7, NOW_MS)}
    assert closeup.ids_missing == 6
    last = closeup.journal()[-1]
    assert (last.state, last.missing, last.recovered, last.reason, last.resolved_by) == (
        "lost",
        10,
        3,
        "disconnected",
        "",
    )
    assert closeup.journal()[1].resolved_by == "rest_backfill"


def test_what_is_kept_is_bounded():
    closeup = closeup_of(Fleet())
    for number in range(1000):
        closeup.note(gap(number * 10, number * 10 + 1), State.OPEN)
        assert closeup.tell(ServiceEvent("connection_closed", NOW_MS, {"cause": "x" * 10_000, "number": number}))
    assert (len(closeup.journal()), len(closeup.happenings())) == (JOURNAL_MAX, HAPPENINGS_MAX)
    assert closeup.journal()[-1].first_id == 9990
    assert len(closeup.happenings()[-1].text) == TEXT_MAX


def test_what_is_told_elsewhere_or_has_a_traceback_is_left_out():
    closeup = closeup_of(Fleet())
    for name in ("service_metrics", "gap_opened", "gap_closed", "gap_lost"):
        closeup.tell(ServiceEvent(name, NOW_MS, {}))
    closeup.tell(ServiceEvent("actor_restarted", NOW_MS, {"actor": "parser", "exc_info": ValueError("x")}))
    assert [(entry.name, entry.text) for entry in closeup.happenings()] == [("actor_restarted", "actor=parser")]


async def test_connections_tell_when_they_are_replaced_and_by_whom(autojump_clock):
    fleet = fleet_of(Connection("ws-1", ("btcusdt@trade",), state="open"))
    old = fleet.connections["ws-1"]
    old.opened_at_s, old.due_at_s = trio.current_time(), trio.current_time() + 100
    await trio.sleep(30)
    fleet.replace("ws-1", lambda _: None, trio.current_time())
    first, second = closeup_of(fleet).connections()
    assert (first.name, first.age_s, first.rotation_in_s, first.role) == ("ws-1", 30, 70, "")
    assert (second.name, second.age_s, second.role) == ("ws-1.2", None, "about to take over from ws-1")
    fleet.replacements["ws-1"].state = "open"
    fleet.exchange("ws-1", trio.current_time())
    assert [(c.name, c.role) for c in closeup_of(fleet).connections()] == [("ws-1.2", ""), ("ws-1", "about to go")]
