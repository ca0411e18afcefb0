"""The fleet's promises: what is wanted is brought about on connections that run, and whoever carries nothing goes."""

from functools import partial

import pytest
import trio

from ingest_actors.actors.fleet import Fleet, Wanted
from ingest_actors.binance.planning import assign


class Subscriber:
    """Remembers what was asked of it."""

    def __init__(self):
        self.asked = []
        self.acknowledged = frozenset()
        self.missing = frozenset()

    def carry(self, streams):
        self.asked.append(("carry", tuple(streams)))

    def renew(self, streams):
        self.asked.append(("renew", tuple(streams)))


class Rig:
    def __init__(self, *streams, streams_max=2):
        self.fleet = Fleet(streams_max=streams_max)
        self.launched = []
        self.assign = partial(assign, streams_max=streams_max)
        self.fleet.want(Wanted(streams))
        self.reconcile()

    def reconcile(self):
        self.fleet.reconcile(self.assign, self.launched.append)

    def open(self, name):
        connection = self.fleet.connections[name]
        subscriber = Subscriber()
        connection.begin(subscriber)
        return subscriber

    def carried(self):
        return {name: connection.streams for name, connection in self.fleet.connections.items()}


def test_before_anything_is_wanted_nothing_is_done():
    Fleet().reconcile(None, None)


def test_streams_come_and_go_on_connections_that_run():
    rig = Rig("a", "b", "c")
    first, second = rig.open("ws-1"), rig.open("ws-2")
    rig.fleet.want(Wanted(("a", "c", "d", "e")))
    rig.reconcile()
    assert rig.carried() == {"ws-1": ("a", "d"), "ws-2": ("c", "e")}
    assert first.asked == [("carry", ("a", "d"))]
    assert second.asked == [("carry", ("c", "e"))]
    assert [connection.name for connection in rig.launched] == ["ws-1", "ws-2"]


def test_a_connection_that_is_not_open_begins_with_what_is_wanted_then():
    rig = Rig("a", "b")
    rig.fleet.want(Wanted(("b", "c")))
    rig.reconcile()
    assert rig.launched[0].streams == ("b", "c")


def test_who_carries_nothing_any_more_is_retired():
    rig = Rig("a", "b", "c")
    retired = rig.fleet.connections["ws-2"]
    rig.fleet.want(Wanted(("a", "b")))
    rig.reconcile()
    assert rig.carried() == {"ws-1": ("a", "b")}
    assert rig.fleet.retired == [retired]
    assert retired.retirement.cancel_called
    assert list(rig.fleet.everyone()) == [rig.fleet.connections["ws-1"], retired]


def test_a_stream_is_moved_where_there_is_room():
    rig = Rig("a", "b", "c")
    first, second = rig.open("ws-1"), rig.open("ws-2")
    assert rig.fleet.move("a", "ws-1", launch=False)
    rig.reconcile()
    assert rig.carried() == {"ws-1": ("b",), "ws-2": ("c", "a")}
    assert (first.asked, second.asked) == ([("carry", ("b",))], [("carry", ("c", "a"))])
    rig.reconcile()
    assert rig.carried() == {"ws-1": ("b",), "ws-2": ("c", "a")}
    assert rig.fleet._leaving == {}


def test_without_room_elsewhere_it_is_moved_to_a_new_connection_if_that_may_be():
    rig = Rig("a", "b")
    assert not rig.fleet.move("a", "ws-1", launch=False)
    rig.reconcile()
    assert rig.carried() == {"ws-1": ("a", "b")}
    assert rig.fleet.move("a", "ws-1")
    rig.reconcile()
    assert rig.carried() == {"ws-1": ("b",), "ws-2": ("a",)}
    assert rig.launched[1] is rig.fleet.connections["ws-2"]


async def test_whoever_waits_is_woken_by_each_change(autojump_clock):
    rig = Rig("a")
    for change in (lambda: rig.fleet.move("a", "ws-1"), lambda: rig.fleet.want(Wanted(("b",)))):
        with trio.move_on_after(1) as nothing:
            await rig.fleet.wait_changed()
        assert nothing.cancelled_caught
        change()
        with trio.fail_after(1):
            await rig.fleet.wait_changed()
        rig.reconcile()


def test_a_step_that_fails_is_made_by_the_next_one():
    rig = Rig("a", "b")
    rig.fleet.move("a", "ws-1")

    def launch(connection):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rig.fleet.reconcile(rig.assign, launch)
    rig.reconcile()
    carried = rig.carried()
    assert sorted(stream for streams in carried.values() for stream in streams) == ["a", "b"]
    assert [connection.name for connection in rig.launched] == ["ws-1", "ws-2"]


def test_what_is_asked_of_a_connection_that_is_not_open_needs_no_doing():
    rig = Rig("a")
    connection = rig.fleet.connections["ws-1"]
    connection.renew(["a"])
    connection.reopen("why")
    assert not connection.told_to_reopen.is_set()
    assert (connection.acknowledged_streams, connection.missing_streams, connection.reading) == (set(), set(), False)
    subscriber = rig.open("ws-1")
    connection.renew(["a"])
    assert subscriber.asked == [("renew", ("a",))]
    connection.reopen("why")
    assert connection.told_to_reopen.is_set()
    life = connection.life
    connection.begin(subscriber)
    assert (connection.life, connection.told_to_reopen.is_set(), connection.reopen_reason) == (life + 1, False, "")
