"""What happens is told once in the log and to every listener, and no listener holds the service up."""

import pytest
import trio

from ingest_actors.announce import EVENTS_WAITING_MAX, Announcer, ServiceEvent


@pytest.fixture
def announce(caplog):
    caplog.set_level("INFO", logger="ingest_actors")
    return Announcer("spot", lambda: 1234)


def lines(caplog):
    return [(record.msg.event, record.levelname, record.fields) for record in caplog.records]


async def test_one_call_makes_the_log_line_and_the_event(announce, caplog):
    with announce.listen() as one, announce.listen() as other:
        announce("connection_closed", level="warning", code=1006)
        expected = ServiceEvent("connection_closed", 1234, {"code": 1006})
        assert await anext(one) == expected
        assert await anext(other) == expected
    assert lines(caplog) == [("connection_closed", "WARNING", {"instance": "spot", "code": 1006})]


async def test_a_listener_hears_only_what_happens_while_it_listens(announce):
    announce("before")
    with announce.listen() as happenings:
        announce("during")
        assert (await anext(happenings)).name == "during"
    announce("after")
    with pytest.raises(trio.ClosedResourceError):
        await anext(happenings)


async def test_the_end_comes_after_what_was_not_read_yet(announce):
    with announce.listen() as happenings:
        announce("first")
        announce("last")
        announce.end()
        announce("too late")
        assert [event.name async for event in happenings] == ["first", "last"]


async def test_whoever_listens_after_the_end_hears_that_it_is_over(announce):
    announce.end()
    with announce.listen() as happenings:
        assert [event async for event in happenings] == []


async def test_a_listener_that_does_not_read_misses_what_is_too_much_and_the_log_says_so(announce, caplog):
    with announce.listen() as happenings:
        for number in range(EVENTS_WAITING_MAX + 2):
            announce(f"event_{number}")
        announce.end()
        assert len([event async for event in happenings]) == EVENTS_WAITING_MAX
    missed = [fields["missed"] for name, _, fields in lines(caplog) if name == "event_missed"]
    assert missed == [f"event_{EVENTS_WAITING_MAX}", f"event_{EVENTS_WAITING_MAX + 1}"]


async def test_a_listener_that_has_closed_its_end_harms_nobody(announce, caplog):
    with announce.listen() as happenings, announce.listen() as other:
        await happenings.aclose()
        announce("it goes on")
        assert (await anext(other)).name == "it goes on"
    assert [name for name, _, _ in lines(caplog)] == ["it goes on"]


async def test_two_announcers_share_nothing(announce):
    with announce.listen() as happenings:
        Announcer("futures", lambda: 0)("elsewhere")
        announce("here")
        assert (await anext(happenings)).name == "here"
